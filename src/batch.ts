/** A batch: what the next step computes, written straight into the memory that the core reads. */
import { Core, ENTRY_WORDS } from './core.js';
import { invalidReceiver, PagedKvError, Status, statusError } from './errors.js';
import { putSequence, type Sequence } from './sequence.js';
import { isStepOpen, newStep, renewStep, type Step } from './step.js';
import {
  invalidToken,
  isObject,
  isWord,
  lengthOf,
  readIdsToCopy,
  show,
  type TokenIds,
} from './validate.js';
import type { StepViews } from './views.js';

/** Where the count stands in an entry, after slot, generation and nonce; the nonce is there from the start. */
const COUNT_WORD = 3;
/** Set in the count of an entry whose ids come with the commit. */
const COUNT_ONLY = 2 ** 31;
/** Set in the count of an entry with tokens that may be rejected. */
const GUESSES = 2 ** 30;
/** More tokens than any batch may have; below it there is room for flags. */
const MAX_COUNT = 2 ** 29;
/** Up to this many ids, a loop is faster than `set`. */
const SHORT = 16;

export let newBatch: (core: Core, views: readonly StepViews[]) => Batch;
/** Puts a batch's entries before the core and returns their number. Throws `BATCH_FOREIGN` unless it is the core's. */
export let presentBatch: (batch: Batch, core: Core) => number;
/** A step object of the batch that is not open, made to stand for what was just scheduled. */
export let lendStep: (batch: Batch) => Step;

/**
 * Made by `kv.batch()` and filled anew for each step, so that decoding allocates nothing. A manager may have
 * several; the one that was filled last stands in the core's memory, and changing between two copies them.
 */
export class Batch {
  readonly #core: Core;
  readonly #steps: readonly Step[];
  #nextStep = 0;
  #entries = 0;
  #tokens = 0;
  /** Ids that stand end to end: those of `#tokens` that did not come as a count. */
  #ids = 0;
  /** The entries and then the ids, while another batch stands in the core's memory. */
  #saved = new Uint32Array();

  static {
    newBatch = (core, views) => new Batch(core, views);
    presentBatch = (batch, core) => {
      if (!isObject(batch) || !(#core in batch) || batch.#core !== core) {
        throw new PagedKvError('BATCH_FOREIGN', 'not a batch of this manager');
      }
      if (core.bound !== batch) batch.#bind(core);
      return batch.#entries;
    };
    lendStep = (batch) => {
      const step = batch.#closedStep();
      renewStep(step);
      return step;
    };
  }

  static #coreOf(batch: Batch): Core {
    try {
      return batch.#core;
    } catch {
      throw invalidReceiver('batch');
    }
  }

  private constructor(core: Core, views: readonly StepViews[]) {
    if (!(core instanceof Core)) throw invalidReceiver('batch');
    this.#core = core;
    // Twice as many as can be open, so that a step is renewed as late as can be after it has ended.
    const steps = 2 * core.config.maxOpenSteps;
    this.#steps = Array.from({ length: steps }, () => newStep(core, views));
  }

  /** Sequences in it. */
  get sequences(): number {
    Batch.#coreOf(this);
    return this.#entries;
  }

  /** Tokens in it. */
  get tokens(): number {
    Batch.#coreOf(this);
    return this.#tokens;
  }

  /** Takes everything out. Scheduling leaves a batch as it is, for another try or another round. */
  clear(): void {
    Batch.#coreOf(this);
    this.#entries = 0;
    this.#tokens = 0;
    this.#ids = 0;
  }

  /**
   * Adds a sequence and the ids of the tokens that the step computes for it, or their number when the ids
   * come with the commit. The ids are copied. Throws `EMPTY_TOKENS`, `INVALID_TOKEN`, `BATCH_TOO_LARGE`,
   * `SEQUENCE_FOREIGN`, and then adds nothing. O(tokens).
   */
  add(sequence: Sequence, tokens: TokenIds | number): void {
    const core = Batch.#coreOf(this);
    this.#add(core, sequence, tokens, 0);
  }

  /**
   * As `add`, where some of the tokens are guesses, which `step.accept` may reject: each is a query token, even
   * where it is found in memory, so that there are logits for it; and `lookup` does not count on them. Throws
   * as `add`. O(tokens).
   */
  addGuesses(sequence: Sequence, tokens: TokenIds | number): void {
    const core = Batch.#coreOf(this);
    this.#add(core, sequence, tokens, GUESSES);
  }

  #add(core: Core, sequence: Sequence, tokens: TokenIds | number, flags: number): void {
    if (typeof tokens === 'number') {
      const count = readCount(tokens);
      this.#put(core, sequence, count, COUNT_ONLY + flags + count);
      return;
    }
    const ids = readIdsToCopy(tokens);
    const count = lengthOf(ids);
    if (count === 0) throw statusError(Status.emptyTokens);
    this.#put(core, sequence, count, flags + count);
    const begin = core.offsets.batchTokens + this.#ids;
    this.#ids += count;
    if (count > SHORT) core.words.set(ids, begin);
    else copy(ids, 0, core.words, begin, count);
  }

  /** Adds a sequence and one token, by its id: what most sequences do in most steps. Throws as `add`. O(1). */
  addToken(sequence: Sequence, id: number): void {
    const core = Batch.#coreOf(this);
    if (!isWord(id)) throw invalidToken(id, 'a token id');
    this.#put(core, sequence, 1, 1);
    core.words[core.offsets.batchTokens + this.#ids] = id;
    this.#ids += 1;
  }

  #put(core: Core, sequence: Sequence, tokens: number, countWord: number): void {
    if (core.bound !== this) this.#bind(core);
    const { maxBatchSequences, maxBatchTokens } = core.config;
    if (this.#entries === maxBatchSequences || this.#tokens + tokens > maxBatchTokens) {
      throw statusError(Status.batchTooLarge);
    }
    const at = core.offsets.batchEntries + this.#entries * ENTRY_WORDS;
    putSequence(sequence, core, at);
    core.words[at + COUNT_WORD] = countWord;
    this.#entries += 1;
    this.#tokens += tokens;
  }

  /** Takes the core's memory over from the batch that stands in it. Throws `MANAGER_CLOSED`. */
  #bind(core: Core): void {
    core.checkOpen();
    if (core.bound !== undefined) core.bound.#save();
    core.bound = this;
    const { words, offsets } = core;
    const saved = this.#saved;
    const entryWords = this.#entries * ENTRY_WORDS;
    copy(saved, 0, words, offsets.batchEntries, entryWords);
    copy(saved, entryWords, words, offsets.batchTokens, this.#ids);
  }

  #save(): void {
    const { words, offsets } = this.#core;
    const entryWords = this.#entries * ENTRY_WORDS;
    const length = entryWords + this.#ids;
    if (this.#saved.length < length) this.#saved = new Uint32Array(length);
    copy(words, offsets.batchEntries, this.#saved, 0, entryWords);
    copy(words, offsets.batchTokens, this.#saved, entryWords, this.#ids);
  }

  #closedStep(): Step {
    const steps = this.#steps;
    for (;;) {
      const step = steps[this.#nextStep]!;
      this.#nextStep = (this.#nextStep + 1) % steps.length;
      if (!isStepOpen(step)) return step;
    }
  }
}

/** `set` would need a view made for it. */
function copy(
  from: Uint32Array,
  fromBegin: number,
  to: Uint32Array,
  toBegin: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) to[toBegin + i] = from[fromBegin + i]!;
}

function readCount(count: number): number {
  if (count === 0) throw statusError(Status.emptyTokens);
  if (isWord(count) && count < MAX_COUNT) return count;
  throw new PagedKvError(
    'INVALID_ARGUMENT',
    `tokens must be ids or their number, a whole number, got ${show(count)}`,
  );
}
