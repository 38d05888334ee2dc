/** A sequence: one growing list of tokens, whose state the core keeps. Here is its handle. */
import { emitWarning } from 'node:process';
import { Core } from './core.js';
import { check, invalidReceiver, Status, statusError } from './errors.js';
import { native, Reply } from './native.js';
import {
  readCloseOptions,
  readRetention,
  REUSE_UNKNOWN,
  type CloseOptions,
  type Retention,
  type RetentionWords,
} from './retention.js';
import { readKeys, type KeyWords, type PromptOptions } from './prompt.js';
import { readIds, readOptions, readWord, type TokenIds } from './validate.js';

/**
 * - `active`: on the device, or will be once it is scheduled.
 * - `swapped`: its blocks are on the host; scheduling it brings them back.
 * - `dropped`: it has no blocks; `resume` it.
 * - `closed`: gone; every other member throws `SEQUENCE_CLOSED`.
 */
export type SequenceState = 'active' | 'swapped' | 'dropped' | 'closed';

/** By number: `SequenceState` of the core. */
const STATES: readonly SequenceState[] = ['closed', 'active', 'swapped', 'dropped'];

/** The one that the core has just opened, from the reply. */
export let adoptSequence: (core: Core) => Sequence;
/** Writes its slot and generation into the core's memory. Throws `SEQUENCE_FOREIGN` unless it is the core's. */
export let putSequence: (sequence: Sequence, core: Core, at: number) => void;
/** The same into other words. */
export let putHandle: (sequence: Sequence, core: Core, words: Uint32Array, at: number) => void;
/** Asks for retentions that were read already. Throws as `retain`, and then closes the sequence. */
export let retainOpened: (sequence: Sequence, asked: readonly RetentionWords[]) => void;
/** Preempts it and returns the status. Throws `SEQUENCE_FOREIGN` unless it is the core's. */
export let preemptSequence: (sequence: Sequence, core: Core, mode: number) => number;

/** Accepts the first tokens of its entry in a step. Throws `SEQUENCE_FOREIGN` unless it is the core's. */
export let acceptSequence: (
  sequence: Sequence,
  core: Core,
  step: number,
  stepGeneration: number,
  count: number,
) => void;

/** Made by `kv.open()` and `sequence.fork()`. Close it when done: a collected one is closed with a warning. */
export class Sequence {
  readonly #core: Core;
  readonly #slot: number;
  readonly #generation: number;

  static {
    adoptSequence = (core) =>
      new Sequence(core, core.words[Reply.slot]!, core.words[Reply.generation]!);
    putHandle = (sequence, core, words, at) => {
      if (Sequence.#ownerOf(sequence) !== core) throw statusError(Status.sequenceForeign);
      words[at] = sequence.#slot;
      words[at + 1] = sequence.#generation;
    };
    putSequence = (sequence, core, at) => putHandle(sequence, core, core.words, at);
    retainOpened = (sequence, asked) => {
      try {
        for (const each of asked) sequence.#retain(each);
      } catch (error) {
        sequence.close();
        throw error;
      }
    };
    preemptSequence = (sequence, core, mode) => {
      if (Sequence.#ownerOf(sequence) !== core) throw statusError(Status.sequenceForeign);
      return native.preempt(core.id, sequence.#slot, sequence.#generation, mode);
    };
    acceptSequence = (sequence, core, step, stepGeneration, count) => {
      if (Sequence.#ownerOf(sequence) !== core) throw statusError(Status.sequenceForeign);
      const { id } = core;
      check(native.accept(id, step, stepGeneration, sequence.#slot, sequence.#generation, count));
    };
  }

  /** Undefined for what is no sequence. Reading and failing costs less than asking first. */
  static #ownerOf(sequence: Sequence): Core | undefined {
    try {
      return sequence.#core;
    } catch {
      return undefined;
    }
  }

  static #coreOf(sequence: Sequence): Core {
    const core = Sequence.#ownerOf(sequence);
    if (core === undefined) throw invalidReceiver('sequence');
    return core;
  }

  private constructor(core: Core, slot: number, generation: number) {
    if (!(core instanceof Core)) throw invalidReceiver('sequence');
    this.#core = core;
    this.#slot = slot;
    this.#generation = generation;
    collected.register(this, { core, slot, generation }, this);
  }

  /** Committed tokens. Throws `SEQUENCE_CLOSED`. O(1). */
  get length(): number {
    const { offsets } = Sequence.#coreOf(this);
    return this.#read(offsets.sequenceLength);
  }

  /**
   * Tokens that `open` or the last `resume` found in memory, from the start. The engine computes the rest,
   * which is never empty. Throws `SEQUENCE_CLOSED`. O(1).
   */
  get cachedTokens(): number {
    const { offsets } = Sequence.#coreOf(this);
    return this.#read(offsets.sequenceCached);
  }

  /** O(1). */
  get state(): SequenceState {
    Sequence.#coreOf(this);
    return this.#state();
  }

  /**
   * A second sequence of the first `at` committed tokens (default: all), which shares every block. Its `length` is
   * less where a group has given back what those tokens would read, as with `truncate`.
   * Throws `BEYOND_END`, `SEQUENCE_DROPPED`, `TOO_MANY_SEQUENCES`, `INDEX_FULL`. O(runs of blocks) and a
   * copy of the block table's row.
   */
  fork(at?: number): Sequence {
    const core = Sequence.#coreOf(this);
    const length = at === undefined ? this.length : readWord('at', at);
    check(native.fork(core.id, this.#slot, this.#generation, length));
    return adoptSequence(core);
  }

  /**
   * Gives back all tokens from `length` on, and returns how many the sequence has then: fewer where a group has
   * given back what they would read (see `rollback`), so that those up to `length` have to be computed again. Throws
   * `BEYOND_END`, `SEQUENCE_DROPPED`, `INDEX_FULL`, and `SEQUENCE_IN_STEP` while a step that holds it is open.
   * O(runs of blocks given back); with groups that do not read all, O(blocks).
   */
  truncate(length: number): number {
    const core = Sequence.#coreOf(this);
    check(native.truncate(core.id, this.#slot, this.#generation, readWord('length', length)));
    return this.length;
  }

  /**
   * Brings back a sequence that was preempted by dropping, with the ids it had, and the keys it had unless
   * others are given. Returns `cachedTokens`: the engine computes the rest anew, and with it what is on the
   * host where that takes less time than bringing it back. Throws
   * `SEQUENCE_NOT_DROPPED`, `EMPTY_TOKENS`, `INVALID_TOKEN`, `INVALID_KEYS`, `SEQUENCE_TOO_LONG`,
   * `INDEX_FULL`. O(blocks of the prompt).
   */
  resume(tokens: TokenIds, options?: Pick<PromptOptions, 'keys'>): number {
    const core = Sequence.#coreOf(this);
    const keys = readResumeKeys(options);
    const ids = readIds(tokens);
    core.tick();
    check(native.resume(core.id, this.#slot, this.#generation, ids, ...keys));
    return this.cachedTokens;
  }

  /**
   * Asks how long blocks are kept: those it has, and those it will compute. A sequence keeps what was asked
   * for up to 4 ranges; a word on the same or a wider range takes the place of an older one. Throws
   * `INVALID_OPTION`, `UNKNOWN_OPTION`, `TOO_MANY_RETENTIONS`, `INDEX_FULL`, and `SEQUENCE_IN_STEP` while a
   * step with it is open. O(runs of blocks in the range).
   */
  retain(retention: Retention): void {
    Sequence.#coreOf(this);
    this.#retain(readRetention(retention));
  }

  /**
   * Lets go of its blocks; those that are full stay in memory for the next prompt that starts alike. While
   * a step with it is open, it ends with the step. Closing twice throws `SEQUENCE_CLOSED`.
   * O(runs of blocks that nobody else holds).
   */
  close(options?: CloseOptions): void {
    const core = Sequence.#coreOf(this);
    const reuse = options === undefined ? REUSE_UNKNOWN : readCloseOptions(options);
    core.checkOpen();
    core.tick();
    check(native.closeSequence(core.id, this.#slot, this.#generation, reuse));
    collected.unregister(this);
  }

  /** As `close`, but a closed one stays closed. */
  [Symbol.dispose](): void {
    if (Sequence.#coreOf(this).id !== 0 && this.state !== 'closed') this.close();
  }

  #retain({ from, to, priority, life }: RetentionWords): void {
    const core = this.#core;
    core.tick();
    const { id } = core;
    check(native.retain(id, this.#slot, this.#generation, from, to, priority, life));
  }

  #read(offset: number): number {
    const core = this.#core;
    core.checkOpen();
    if (this.#state() === 'closed') throw statusError(Status.sequenceClosed);
    return core.words[offset + this.#slot]!;
  }

  #state(): SequenceState {
    const { words, offsets } = this.#core;
    if (words[offsets.sequenceGeneration + this.#slot] !== this.#generation) return 'closed';
    return STATES[words[offsets.sequenceState + this.#slot]!]!;
  }
}

function readResumeKeys(options: unknown): KeyWords | readonly [] {
  if (options === undefined) return [];
  const { keys } = readOptions('resume', options, ['keys']);
  return keys === undefined ? [] : readKeys(keys);
}

/** Keeps the core alive until the last sequence was collected. */
const collected = new FinalizationRegistry<{ core: Core; slot: number; generation: number }>(
  ({ core, slot, generation }) => {
    if (native.closeSequence(core.id, slot, generation, REUSE_UNKNOWN) !== Status.ok) return;
    emitWarning('A sequence was collected while it was open: close() every sequence when done', {
      type: 'PagedKvWarning',
      code: 'PAGEDKV_SEQUENCE_COLLECTED',
    });
  },
);
