/** Work for a device: a step that was scheduled, or a transfer that `preempt` made. */
import { Core } from './core.js';
import { check, invalidReceiver, Status, statusError } from './errors.js';
import { native, Reply } from './native.js';
import { readTimes, reportTimes } from './costs.js';
import type { Attention, Executable, Moves, TransferTimes } from './plan.js';
import { acceptSequence, type Sequence } from './sequence.js';
import { readIds, readWord, type TokenIds } from './validate.js';
import type { StepViews } from './views.js';
import { MOVE_WORDS } from './words.js';

/** A step that was not scheduled yet. `views` are those of each slot. */
export let newStep: (core: Core, views: readonly StepViews[]) => Step;
/** Makes it stand for what the core has just scheduled, from the reply. Requires that it is not open. */
export let renewStep: (step: Step) => void;
export let isStepOpen: (step: Step) => boolean;

/**
 * One forward pass over a batch: planned, then executed by a device and by the engine, then committed or
 * aborted. Its views live until then; every member but `ok` throws `STEP_CLOSED` afterwards. One that is
 * dropped without either keeps what it reserved, and its place among the open steps.
 */
export class Step implements Executable {
  readonly ok = true;
  readonly #core: Core;
  readonly #views: readonly StepViews[];
  #slot = 0;
  /** −1, which no step of the core has, before the first. */
  #generation = -1;

  static {
    newStep = (core, views) => new Step(core, views);
    renewStep = (step) => {
      const words = step.#core.words;
      step.#slot = words[Reply.slot]!;
      step.#generation = words[Reply.generation]!;
    };
    isStepOpen = (step) => step.#views[step.#slot]!.isOpen(step.#generation);
  }

  static #coreOf(step: Step): Core {
    try {
      return step.#core;
    } catch {
      throw invalidReceiver('step');
    }
  }

  private constructor(core: Core, views: readonly StepViews[]) {
    if (!(core instanceof Core)) throw invalidReceiver('step');
    this.#core = core;
    this.#views = views;
  }

  /** What to move before the pass, in the order offloads, onboards, copies. The same object each time. */
  get moves(): Moves {
    Step.#coreOf(this);
    return this.#openViews().moves();
  }

  /** What the kernels read. The same object each time, so take it once a step. O(groups). */
  get attention(): Attention {
    Step.#coreOf(this);
    return this.#openViews().attention();
  }

  /**
   * What the sequences of the batch had on the host: records of 3, the sequence's place in the batch, the
   * blocks of it that this step brings back, and the tokens that it computes although the host has them, as
   * that is expected to take less time. It lives as long as the moves do.
   */
  get hostHits(): Uint32Array {
    Step.#coreOf(this);
    return this.#openViews().hostHits();
  }

  /**
   * Tells that moves begin, so that an abort can no longer bring back what they overwrite. A device calls it
   * first. Throws `STEP_EXECUTED` when told twice, `STEP_OUT_OF_ORDER` before older steps were executed.
   */
  beginExecute(): void {
    const core = Step.#coreOf(this);
    check(native.beginExecute(core.id, this.#slot, this.#generation));
  }

  /**
   * Tells that every move is done, or that one failed: then only `abort` is left. A device calls it last, with
   * the times that it has measured, if any.
   */
  endExecute(ok: boolean, times?: TransferTimes): void {
    const core = Step.#coreOf(this);
    const measured = times === undefined ? undefined : readTimes(times);
    check(native.endExecute(core.id, this.#slot, this.#generation, ok));
    if (ok && measured !== undefined) reportTimes(core, this.moves, measured);
  }

  /**
   * Says, between the pass and the commit, that only the first `count` query tokens of the sequence's entry
   * are to be committed; what lies behind was never there, and its blocks are given back at the commit. Once
   * an entry; those that are not asked about are committed whole. A step that no device has executed counts
   * as executed. Once accepted, the sequence may be scheduled again before the commit.
   *
   * Throws `BUILT_UPON` where a later open step was planned on top of what this rejects: abort that one
   * first. Throws `NOT_IN_STEP`, `INVALID_PATH` for more tokens than the entry has, `ACCEPTED_TWICE`,
   * `SEQUENCE_FOREIGN`, `SEQUENCE_CLOSED`, `STEP_CLOSED`, `STEP_FAILED`, `STEP_EXECUTING` while a device is at
   * it, and `STEP_OUT_OF_ORDER` before older steps were executed. O(1), unless a batch with the sequence was
   * scheduled since: then O(batch).
   */
  accept(sequence: Sequence, count: number): void {
    const core = Step.#coreOf(this);
    acceptSequence(sequence, core, this.#slot, this.#generation, readWord('count', count));
  }

  /**
   * Makes the step true: its tokens count, and the blocks it filled can be found by prompts. `ids`: exactly
   * those of the entries that gave a count, in batch order, without what was rejected. A step that no device has executed counts as
   * executed. Throws `IDS_MISSING`, `STEP_OUT_OF_ORDER`, `STEP_FAILED`, `STEP_CLOSED`, and
   * `STEP_EXECUTING` while a device is at it. O(batch + tokens).
   */
  commit(ids?: TokenIds): void {
    const core = Step.#coreOf(this);
    core.tick();
    const slot = this.#slot;
    const generation = this.#generation;
    if (ids === undefined) check(native.commit(core.id, slot, generation));
    else check(native.commit(core.id, slot, generation, readIds(ids)));
  }

  /**
   * As if it had never been; once it was executed, cached blocks that it overwrote are gone and finished
   * transfers stand. Later open steps that share a sequence with it are aborted too. Throws `STEP_CLOSED`,
   * and `STEP_EXECUTING` while a device is at it.
   */
  abort(): void {
    const core = Step.#coreOf(this);
    core.tick();
    check(native.abort(core.id, this.#slot, this.#generation));
  }

  #openViews(): StepViews {
    this.#core.checkOpen();
    const views = this.#views[this.#slot]!;
    if (!views.isOpen(this.#generation)) throw statusError(Status.stepClosed);
    return views;
  }
}

/** What the core has just preempted, from the reply. */
export let newTransfer: (core: Core) => Transfer;

/** In the core, the ticket of a transfer with nothing to move, which nothing needs to end. */
const NO_TICKET = 2 ** 32 - 1;

/**
 * A preempted sequence's way to the host. It is gone from the device once a device has executed this.
 * Its moves are its own, and outlive it. One that is dropped without being executed keeps the blocks that
 * it reserved in both tiers.
 */
export class Transfer implements Executable {
  readonly ok = true;
  /** Blocks to move; 0 when there is nothing to execute, as after dropping. Executing it then does nothing. */
  readonly blocks: number;
  readonly moves: Moves;
  readonly #core: Core;
  readonly #ticket: number;

  static {
    newTransfer = (core) => new Transfer(core);
  }

  private constructor(core: Core) {
    if (!(core instanceof Core)) throw invalidReceiver('transfer');
    const { words, offsets } = core;
    const begin = offsets.transferMoves;
    this.#core = core;
    this.#ticket = words[Reply.ticket]!;
    this.blocks = words[Reply.moves]!;
    this.moves = {
      offloads: words.slice(begin, begin + this.blocks * MOVE_WORDS),
      onboards: new Uint32Array(),
      copies: new Uint32Array(),
    };
  }

  /** A device calls it before the first move. Throws `TRANSFER_CLOSED` once it has ended. */
  beginExecute(): void {
    const core = Transfer.#coreOf(this);
    if (this.#ticket === NO_TICKET) return;
    check(native.beginTransfer(core.id, this.#ticket));
  }

  /**
   * A device calls it after the last move. Not ok: the sequence stays `'swapped'`, and the blocks, which are
   * still on the device, are found there when it is scheduled.
   */
  endExecute(ok: boolean, times?: TransferTimes): void {
    const core = Transfer.#coreOf(this);
    const measured = times === undefined ? undefined : readTimes(times);
    if (this.#ticket === NO_TICKET) return;
    core.tick();
    check(native.endTransfer(core.id, this.#ticket, ok));
    if (ok && measured !== undefined) reportTimes(core, this.moves, measured);
  }

  static #coreOf(transfer: Transfer): Core {
    try {
      return transfer.#core;
    } catch {
      throw invalidReceiver('transfer');
    }
  }
}
