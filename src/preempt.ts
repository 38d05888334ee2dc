/** Preemption: how a sequence is taken off the device, and whom taking off costs least. */
import type { Core } from './core.js';
import { check, PagedKvError } from './errors.js';
import { native, Reply } from './native.js';
import type { Milliseconds } from './retention.js';
import { putHandle, type Sequence } from './sequence.js';
import { readChoice, readInteger, readOptions, show } from './validate.js';

export interface PreemptOptions {
  /**
   * `'swap'`, the default: blocks that only this sequence holds go to the host, and come back when it is
   * scheduled. `'drop'`: they are given up, and `resume` tells what to compute again. `'auto'`: what is
   * expected to cost less time in all, and dropping where the host has no room; the sequence's state then
   * tells which. One that is swapped out already is dropped by it where computing it again is the cheaper
   * way back by now, and stays as it is otherwise.
   */
  readonly mode?: 'swap' | 'drop' | 'auto';
}

export interface VictimOptions {
  /** Blocks that are needed. Default 1. */
  readonly blocks?: number;
}

/** The sequence that is cheapest to preempt. */
export interface Victim {
  readonly sequence: Sequence;
  /** The cheaper way, which `preempt` takes when told `'auto'`. */
  readonly mode: 'swap' | 'drop';
  /** Of the device, that come free: those that nobody else holds. */
  readonly blocks: number;
  /**
   * What it is expected to cost: to the host and back, or to be computed again. Comparable, but no time, until
   * transfers and passes were reported.
   */
  readonly milliseconds: Milliseconds;
}

/** By number: `PreemptMode` of the core. */
const MODES = ['swap', 'drop', 'auto'] as const;
const HANDLE_WORDS = 2;
const NONE = 2 ** 32 - 1;

/** By the number of the mode. */
export function readPreemptMode(options: unknown): number {
  const given = options === undefined ? {} : readOptions('preempt', options, ['mode']);
  return MODES.indexOf(readChoice('mode', given.mode, MODES, 'swap'));
}

export function cheapestToPreempt(
  core: Core,
  sequences: readonly Sequence[],
  options: unknown,
): Victim | undefined {
  const given = options === undefined ? {} : readOptions('cheapestToPreempt', options, ['blocks']);
  const needed = readInteger('blocks', given.blocks, 0, native.maxBlocksPerPool, 1);
  if (!Array.isArray(sequences)) {
    throw new PagedKvError(
      'INVALID_ARGUMENT',
      `sequences must be an array of them, got ${show(sequences)}`,
    );
  }
  const handles = new Uint32Array(HANDLE_WORDS * sequences.length);
  sequences.forEach((sequence: Sequence, i) =>
    putHandle(sequence, core, handles, HANDLE_WORDS * i),
  );
  check(native.victim(core.id, handles, needed));
  const { words, reals } = core;
  const index = words[Reply.victim]!;
  if (index === NONE) return undefined;
  return {
    sequence: sequences[index]! as Sequence,
    mode: words[Reply.victimMode] === 0 ? 'swap' : 'drop',
    blocks: words[Reply.victimBlocks]!,
    milliseconds: reals[0]!,
  };
}
