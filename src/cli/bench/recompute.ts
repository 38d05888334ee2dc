/**
 * Swap or recompute: what the manager's choices cost on machines that it does not know, against always bringing
 * back and always computing what is found on the host.
 */
import type { Trace } from '../replay/trace.js';
import type { Line } from './line.js';
import { Machine } from './machine.js';
import { runTrace, type RunSetup } from './recompute-run.js';

/** Of the rate of transfers to that of computing. */
export const RATIOS = [0.1, 0.3, 1, 3, 10, 30, 100] as const;

/** Moving gets four times slower, or faster, while the trace is replayed. */
const DRIFTS = [4, 1 / 4] as const;
/** What the manager is told first is wrong by as much on both sides; or it is told nothing. */
const MISLED = [4, 1 / 4, undefined] as const;

/** Of the trace's distinct blocks; the host has four times as much. */
const DEVICE_SHARE = 0.01;
const HOST_TIMES = 4;

export interface RecomputeResult {
  readonly ratio: number;
  /** In seconds, where the manager's choices do worst against the better of the two others. */
  readonly always: number;
  readonly never: number;
  readonly auto: number;
}

/** Of a trace, by ratio. `seed`: of the noise. */
export function measureRecompute(
  trace: Trace,
  ratios: readonly number[],
  seed: number,
  onRatio: (ratio: number) => void = () => undefined,
): readonly RecomputeResult[] {
  const deviceBlocks = Math.max(1, Math.floor(trace.blocks * DEVICE_SHARE));
  const setup = { deviceBlocks, hostBlocks: HOST_TIMES * deviceBlocks, seed };
  const machines = ratios.flatMap((ratio) =>
    DRIFTS.map((drift) => new Machine({ ratio, drift, blockTokens: trace.blockSize })),
  );
  const always = pureTimes(trace, { ...setup, onboard: 'always', misled: undefined }, machines);
  const never = pureTimes(trace, { ...setup, onboard: 'never', misled: undefined }, machines);
  return ratios.map((ratio, i) => {
    onRatio(ratio);
    const results = DRIFTS.flatMap((_, j) => {
      const at = DRIFTS.length * i + j;
      const pure = { ratio, always: always[at]!, never: never[at]! };
      return MISLED.map((misled) => {
        const { milliseconds } = runTrace(trace, { ...setup, onboard: 'auto', misled }, [
          machines[at]!,
        ]);
        return { ...pure, auto: milliseconds[0]! / 1000 };
      });
    });
    return results.reduce((a, b) => (toBetter(b) > toBetter(a) ? b : a));
  });
}

export function recomputeLines(trace: Trace, results: readonly RecomputeResult[]): readonly Line[] {
  return results.map((result) => ({
    name: `swap or recompute, ${trace.name}, transfers at ${result.ratio} times the rate of computing`,
    value: result.auto,
    unit: 's',
    yardstick: result.always < result.never ? 'always brought back' : 'always computed',
    ratio: toBetter(result),
  }));
}

export function toBetter({ always, never, auto }: RecomputeResult): number {
  return auto / Math.min(always, never);
}

/** In seconds, by machine. */
function pureTimes(trace: Trace, setup: RunSetup, machines: readonly Machine[]): readonly number[] {
  return runTrace(trace, setup, machines).milliseconds.map((milliseconds) => milliseconds / 1000);
}
