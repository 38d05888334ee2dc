/** All schemes on the same requests and the same memory, and the curve that admission can choose from. */
import { newAdmission, type AdmissionName } from './admission.js';
import { CONTIGUOUS_SCHEMES, simulateContiguous, type ContiguousScheme } from './contiguous.js';
import type { Lengths } from './lengths.js';
import { simulatePaged } from './paged.js';
import type { Shares } from './tally.js';
import { DEFAULT_PREEMPTION_GOAL } from './watermark.js';

export interface Workload {
  readonly name: string;
  readonly requests: readonly Lengths[];
  readonly slots: number;
  readonly maxLength: number;
}

/** What one scheme made of the memory. */
export interface Row extends Shares {
  readonly scheme: ContiguousScheme['name'] | 'paged';
  /** Null where there are no blocks. */
  readonly blockSize: number | null;
  readonly slots: number;
  /** Null where a request is admitted when its reservation fits. */
  readonly admission: AdmissionName | null;
  readonly preemptionsPerRequest: number;
  readonly recomputedPerInputToken: number;
}

/** A row, and what people should know of it. */
export interface ContiguousRow {
  readonly row: Row;
  readonly warning: string | undefined;
}

/** Told which scheme is at it, and how many of the requests have begun. */
export type OnPass = (label: string, begun: number) => void;

export function contiguousRows(workload: Workload, onPass: OnPass): readonly ContiguousRow[] {
  return CONTIGUOUS_SCHEMES.map((scheme) => {
    const { requests, slots, maxLength } = workload;
    const { shares, refused } = simulateContiguous(scheme, requests, slots, maxLength, (begun) =>
      onPass(scheme.name, begun),
    );
    return {
      row: {
        scheme: scheme.name,
        blockSize: null,
        slots,
        admission: null,
        ...shares,
        preemptionsPerRequest: 0,
        recomputedPerInputToken: 0,
      },
      warning:
        refused === 0
          ? undefined
          : `${scheme.name}: ${refused} requests are left out, because rounded up to a power of two ` +
            'they never fit',
    };
  });
}

export function pagedRow(
  workload: Workload,
  admission: AdmissionName,
  blockSize: number,
  onPass: OnPass,
  preemptionGoal = DEFAULT_PREEMPTION_GOAL,
): Row {
  const { requests, slots, maxLength } = workload;
  const { shares, preemptions, recomputedTokens } = simulatePaged(
    requests,
    { slots, blockSize, maxLength },
    newAdmission(admission, maxLength, preemptionGoal),
    (begun) => onPass(`paged by ${blockSize}, ${admission}`, begun),
  );
  const inputTokens = requests.reduce((sum, request) => sum + request.inputTokens, 0);
  return {
    scheme: 'paged',
    blockSize,
    slots,
    admission,
    ...shares,
    preemptionsPerRequest: preemptions / requests.length,
    recomputedPerInputToken: recomputedTokens / Math.max(1, inputTokens),
  };
}

/** One point of the curve. */
export interface CurvePoint {
  /** Preemptions a request that `watermark` aimed for; undefined for the others. */
  readonly goal: number | undefined;
  readonly row: Row;
}

export const CURVE_GOALS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64] as const;
const CURVE_OTHERS = ['prompt', 'greedy', 'known'] as const;
/** Runs of one curve. */
export const CURVE_RUNS = CURVE_GOALS.length + CURVE_OTHERS.length;

/** Utilisation against preemptions: `watermark` from careful to bold, then the others. */
export function curvePoints(
  workload: Workload,
  blockSize: number,
  onPass: OnPass,
): readonly CurvePoint[] {
  const points = CURVE_GOALS.map((goal) => ({
    goal,
    row: pagedRow(workload, 'watermark', blockSize, onPass, goal),
  }));
  const others = CURVE_OTHERS.map((admission) => ({
    goal: undefined,
    row: pagedRow(workload, admission, blockSize, onPass),
  }));
  return [...points, ...others];
}
