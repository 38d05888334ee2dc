/** What transfers and passes take: as callers report it, and what the manager makes of it. */
import type { Core } from './core.js';
import { check, PagedKvError } from './errors.js';
import { native } from './native.js';
import type { Moves, TransferTimes } from './plan.js';
import type { Milliseconds } from './retention.js';
import { readChoice, readInteger, readOptions, show } from './validate.js';
import { MOVE_WORDS } from './words.js';

/**
 * What becomes of a prompt's part on the host.
 *
 * - `'auto'`, the default: it is brought back where that is expected to take less time than computing it
 *   again, by what `reportTransfer` and `reportPrefill` have told; always, before both have.
 * - `'always'`: it is brought back.
 * - `'never'`: it is computed. Sequences that were swapped out come back all the same.
 */
export type Onboarding = 'auto' | 'always' | 'never';

/** By number: `OnboardPolicy` of the core. */
export const ONBOARDING: readonly Onboarding[] = ['auto', 'always', 'never'];

export interface TransferReport {
  /** To the host, or back. */
  readonly direction: 'offload' | 'onboard';
  /** Of one cache group, each moved with its like in the others. */
  readonly blocks: number;
  /** How much later the next pass could begin because of it. */
  readonly milliseconds: Milliseconds;
}

export interface PrefillReport {
  /** That the pass computed of one sequence. */
  readonly tokens: number;
  /** Tokens of the sequence before them. Default 0. */
  readonly past?: number;
  readonly milliseconds: Milliseconds;
}

/** What moving `n` blocks takes: `fixed + n * perBlock`. */
export interface TransferCost {
  readonly fixed: Milliseconds;
  readonly perBlock: Milliseconds;
}

/**
 * What computing `n` tokens after `past` others takes: `fixed + n * (perToken + (past + n / 2) * perAttended)`,
 * as each attends to all before it.
 */
export interface PrefillCost {
  readonly fixed: Milliseconds;
  readonly perToken: Milliseconds;
  readonly perAttended: Milliseconds;
}

/** What is expected, from what was reported; undefined where nothing was. */
export interface Costs {
  readonly offload: TransferCost | undefined;
  readonly onboard: TransferCost | undefined;
  readonly prefill: PrefillCost | undefined;
}

/** By number: `Direction` of the core. */
const DIRECTIONS = ['offload', 'onboard'] as const;
const PARTS = 3;

export function reportTransfer(core: Core, report: unknown): void {
  const names = ['direction', 'blocks', 'milliseconds'] as const;
  const given = readOptions('reportTransfer', report, names);
  const direction = DIRECTIONS.indexOf(readChoice('direction', given.direction, DIRECTIONS));
  const blocks = readInteger('blocks', given.blocks, 1, native.maxBlocksPerPool);
  const milliseconds = readDuration('milliseconds', given.milliseconds);
  check(native.reportTransfer(core.id, direction, blocks, milliseconds));
}

export function reportPrefill(core: Core, report: unknown): void {
  const given = readOptions('reportPrefill', report, ['tokens', 'past', 'milliseconds']);
  const most = native.maxSequenceTokens;
  const tokens = readInteger('tokens', given.tokens, 1, most);
  const past = readInteger('past', given.past, 0, most, 0);
  check(
    native.reportPrefill(core.id, tokens, past, readDuration('milliseconds', given.milliseconds)),
  );
}

/** What a device has measured. Throws `INVALID_OPTION`, `UNKNOWN_OPTION`. */
export function readTimes(times: unknown): TransferTimes {
  const given = readOptions('times', times, DIRECTIONS);
  for (const name of DIRECTIONS) if (given[name] !== undefined) readDuration(name, given[name]);
  return given as TransferTimes;
}

export function reportTimes(core: Core, moves: Moves, times: TransferTimes): void {
  const groups = core.config.groups.length;
  for (const [direction, name] of DIRECTIONS.entries()) {
    const milliseconds = times[name];
    const blocks = moves[`${name}s`].length / MOVE_WORDS / groups;
    if (milliseconds === undefined || blocks === 0) continue;
    check(native.reportTransfer(core.id, direction, blocks, milliseconds));
  }
}

export function readCosts(core: Core): Costs {
  const parts = new Float64Array(3 * PARTS);
  check(native.getCosts(core.id, parts));
  const [offload, onboard, prefill] = [0, 1, 2].map((i) => parts.subarray(i * PARTS));
  return {
    offload: toTransferCost(offload!),
    onboard: toTransferCost(onboard!),
    prefill: toPrefillCost(prefill!),
  };
}

function toTransferCost([fixed, perBlock]: Float64Array): TransferCost | undefined {
  return Number.isNaN(fixed) ? undefined : { fixed: fixed!, perBlock: perBlock! };
}

function toPrefillCost([fixed, perToken, perAttended]: Float64Array): PrefillCost | undefined {
  if (Number.isNaN(fixed)) return undefined;
  return { fixed: fixed!, perToken: perToken!, perAttended: perAttended! };
}

/** What a clock tells between two readings, which may be nothing. */
function readDuration(name: string, value: unknown): Milliseconds {
  if (typeof value === 'number' && value >= 0 && Number.isFinite(value)) return value;
  throw new PagedKvError(
    'INVALID_OPTION',
    `${name} must be milliseconds, from 0 up, got ${show(value)}`,
  );
}
