/** Statistics, as the core counts them. */
import type { Core } from './core.js';
import { readCosts, type Costs } from './costs.js';
import { check } from './errors.js';
import { native } from './native.js';

/** Blocks of one tier of the first cache group, now: total = free + cached + held + inFlight + mirrors. */
export interface TierStats {
  readonly total: number;
  /** On the free list. */
  readonly free: number;
  /** Indexed and held by nobody: to be found by prompts, and evicted when room is needed. */
  readonly cached: number;
  /** Held by sequences or open steps. */
  readonly held: number;
  /** Source or target of a transfer that has not ended. */
  readonly inFlight: number;
  /** On the host: copies of what is on the device. They give way to whatever needs the room. */
  readonly mirrors: number;
}

/** The tiers and `sequences` as they are now; the others count since construction. */
export interface Stats {
  readonly device: TierStats;
  readonly host: TierStats;
  /** Open. */
  readonly sequences: number;
  readonly opens: number;
  /** Given to `open` and `resume`. */
  readonly promptTokens: number;
  /** Of `promptTokens` found in memory, by `open`, `resume` or a later `schedule`. */
  readonly hitTokens: number;
  /** Of `hitTokens` found on the host. */
  readonly hostHitTokens: number;
  /** Of `committedTokens` those that the host had too: computing them was expected to take less time. */
  readonly recomputedTokens: number;
  /** Prompts whose part on the host was brought back. */
  readonly onboardChoices: number;
  /** Prompts whose part on the host was computed again. */
  readonly recomputeChoices: number;
  /** Prompts whose part on the host was split between the two, to learn what each takes. */
  readonly explorations: number;
  readonly forks: number;
  readonly copiesOnWrite: number;
  /** Cached blocks lost for good. */
  readonly evictions: number;
  /** Cached blocks moved to the host. */
  readonly offloadedBlocks: number;
  /** Of `offloadedBlocks` without moving any byte: the host had a copy. */
  readonly sparedOffloads: number;
  /** Blocks copied to the host ahead of leaving the device. */
  readonly mirroredBlocks: number;
  /** Blocks moved back to the device, cached or swapped. */
  readonly onboardedBlocks: number;
  readonly swappedOutBlocks: number;
  readonly swappedInBlocks: number;
  readonly preemptions: number;
  /** Of `preemptions` by dropping. */
  readonly drops: number;
  /** Blocks that two sequences computed at once, one of which was freed at commit. */
  readonly duplicates: number;
  /** Committed. */
  readonly steps: number;
  readonly aborts: number;
  readonly committedTokens: number;
  /** Computed by steps that were committed, and rejected by `accept`. */
  readonly rejectedTokens: number;
  /** Schedules and preemptions that did not fit. */
  readonly outOfBlocks: number;
  readonly failedTransfers: number;
  /** What transfers and passes are expected to take. */
  readonly costs: Costs;
}

/** As `Stats` and `TierStats` of `native/core/types.h` declare them. */
const TIER_COUNTERS = ['total', 'free', 'cached', 'held', 'inFlight', 'mirrors'] as const;
const COUNTERS = [
  'sequences',
  'opens',
  'promptTokens',
  'hitTokens',
  'hostHitTokens',
  'recomputedTokens',
  'onboardChoices',
  'recomputeChoices',
  'explorations',
  'forks',
  'copiesOnWrite',
  'evictions',
  'offloadedBlocks',
  'sparedOffloads',
  'mirroredBlocks',
  'onboardedBlocks',
  'swappedOutBlocks',
  'swappedInBlocks',
  'preemptions',
  'drops',
  'duplicates',
  'steps',
  'aborts',
  'committedTokens',
  'rejectedTokens',
  'outOfBlocks',
  'failedTransfers',
] as const satisfies readonly Exclude<keyof Stats, 'device' | 'host' | 'costs'>[];

export function readStats(core: Core): Stats {
  const reals = new Float64Array(2 * TIER_COUNTERS.length + COUNTERS.length);
  check(native.getStats(core.id, reals));
  const read = <Name extends string>(names: readonly Name[], begin: number) =>
    Object.fromEntries(names.map((name, i) => [name, reals[begin + i]!])) as Record<Name, number>;
  return {
    device: read(TIER_COUNTERS, 0),
    host: read(TIER_COUNTERS, TIER_COUNTERS.length),
    ...read(COUNTERS, 2 * TIER_COUNTERS.length),
    costs: readCosts(core),
  };
}
