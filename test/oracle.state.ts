/** What the oracle knows of sequences, steps and transfers, beside the manager that it watches. */
import type { KeyRange, Sequence, Step, Transfer } from '../src/index.js';
import type { Attention, Moves } from '../src/plan.js';
import type { Prefix } from './oracle.payload.js';

export interface Tracked {
  readonly number: number;
  readonly handle: Sequence;
  readonly namespace: string;
  keys: readonly KeyRange[];
  /** Committed. */
  tokens: readonly number[];
  /** Of each token. */
  prefixes: readonly Prefix[];
  isClosed: boolean;
  /** Of the block table; known once a step had it. */
  row: number | undefined;
  /** Whether its row tells where its blocks are: not while some are on the host. */
  hasRow: boolean;
}

/** One sequence's part of a batch that is to be scheduled. */
export interface Wanted {
  readonly sequence: Tracked;
  readonly tokens: readonly number[];
  /** The manager learns the ids at commit. */
  readonly byCount?: boolean;
  /** Some may be rejected. */
  readonly guesses?: boolean;
}

export interface Entry extends Wanted {
  /** What is left is to be committed. */
  readonly isAccepted?: boolean;
  /** Tokens before those given, committed and pending. */
  readonly base: number;
  /** Of those given. */
  readonly skipped: number;
  readonly hadRow: boolean;
  /** Of all tokens, those given at the end. */
  readonly prefixes: readonly Prefix[];
  /** Blocks of all tokens, as the row named them when it was scheduled. */
  readonly blocks: Int32Array;
}

export interface Planned {
  readonly number: number;
  readonly handle: Step;
  /** The step's own, and valid until it ends. */
  readonly attention: Attention;
  readonly moves: Moves;
  entries: readonly Entry[];
  /** `'landing'`: its pass was submitted, and its end is still to come. */
  stage: 'scheduled' | 'landing' | 'executed' | 'failed' | 'closed';
  /** Slots that the pass wrote. */
  written: readonly number[];
  readonly digestBefore: bigint;
  /** Of the oracle's count, once it was scheduled. */
  readonly changesAfter: number;
}

export interface Moving {
  readonly number: number;
  readonly handle: Transfer;
  /** The copy was made when it began, not when it ends. */
  isEarly: boolean;
  isBegun: boolean;
  /** A device is at it. */
  isUnderWay: boolean;
  /** The copy that was made early went wrong. */
  hasFailed: boolean;
}

/** Query tokens of a step with the slot that each is to be written to. */
export function* queryTokens(
  step: Planned,
): Generator<{ entry: Entry; position: number; slot: number }> {
  const { groups, cumulativeLengths } = step.attention;
  const slots = groups[0]!.slotMapping;
  for (const [i, entry] of step.entries.entries()) {
    let query = cumulativeLengths[i]!;
    for (let position = entry.base + entry.skipped; position < entry.prefixes.length; position++) {
      yield { entry, position, slot: slots[query++]! };
    }
  }
}

/** Blocks that the step has just taken and begins to write: nothing in them may matter. */
export function freshBlocks(step: Planned, blockSize: number): number[] {
  return [...queryTokens(step)]
    .filter(({ position, slot }) => slot >= 0 && position % blockSize === 0)
    .map(({ slot }) => slot / blockSize);
}

/** Lets the entry's sequence have the first `length` of its tokens, those given to this entry included. */
export function setHistory({ sequence, tokens, base, prefixes }: Entry, length: number): void {
  const kept = sequence.tokens.slice(0, Math.min(length, base));
  sequence.tokens = [...kept, ...tokens.slice(0, length - kept.length)];
  sequence.prefixes = prefixes.slice(0, length);
}
