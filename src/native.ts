/** Every native call, declared. Nothing else in the library touches the addon. */
import { createRequire } from 'node:module';
import { PagedKvError } from './errors.js';
import type { KeyWords, PromptWords } from './prompt.js';

/**
 * Numbers go in, a status comes out; results stand in the reply, the first words of the manager's memory,
 * until the manager's next call. `manager` is the id in the reply of `create`. Sequences and steps are
 * named by slot and generation. `ids` must not be backed by shared memory. An absent name is the default
 * namespace; prompt.ts tells how keys are given.
 */
export interface Native {
  /** Words at the front of a manager's memory that hold the results of its last call. */
  readonly replyWords: number;
  readonly maxNamespaceBytes: number;
  readonly maxKeyRanges: number;
  readonly maxKeyBytes: number;
  readonly maxBlocksPerPool: number;
  readonly maxBlockSize: number;
  readonly maxGroups: number;
  readonly maxSequences: number;
  readonly maxSequenceTokens: number;
  readonly maxOpenSteps: number;
  readonly priorities: number;

  /** Writes the bytes of metadata and then the offsets of the shared memory, without those of the reply. */
  measure(config: Uint32Array, out: Float64Array): number;
  create(config: Uint32Array, memory: Uint32Array): number;
  closeManager(manager: number): number;
  clear(manager: number, name?: string): number;
  /** In blocks; no max: 2^32 - 1. */
  setQuota(
    manager: number,
    name: string,
    deviceMin: number,
    deviceMax: number,
    hostMin: number,
    hostMax: number,
  ): number;
  /** Writes every number of the core's statistics. */
  getStats(manager: number, out: Float64Array): number;
  /**
   * Writes records of events into `out`, which must have room for the longest; how many words, and whether
   * there are more, is in the reply.
   */
  takeEvents(manager: number, out: Uint32Array, anew: boolean): number;
  /** What the numbers in records of events stand for, until the manager's next call; or a status. */
  namespaceOf(manager: number, root: number): string | number;
  keyOf(manager: number, key: number): string | number;
  /** The digest; or what is broken; or a status. */
  validate(manager: number): bigint | string | number;

  open(manager: number, ids: Uint32Array, ...where: PromptWords): number;
  /** As `open`, with all that is on the host. */
  pin(manager: number, ids: Uint32Array, ...where: PromptWords): number;
  lookup(manager: number, ids: Uint32Array, ...where: PromptWords): number;
  admission(manager: number, ids: Uint32Array, ...where: PromptWords): number;
  fork(manager: number, slot: number, generation: number, at: number): number;
  truncate(manager: number, slot: number, generation: number, length: number): number;
  /** Without keys, it keeps those that it has. */
  resume(
    manager: number,
    slot: number,
    generation: number,
    ids: Uint32Array,
    ...keys: KeyWords | readonly []
  ): number;
  retain(
    manager: number,
    slot: number,
    generation: number,
    from: number,
    to: number,
    priority: number,
    life: number,
  ): number;
  /** The tokens found are in the reply. */
  retainPrompt(
    manager: number,
    ids: Uint32Array,
    from: number,
    to: number,
    priority: number,
    life: number,
    ...where: PromptWords
  ): number;
  /** `reuse`: milliseconds, or as `Reuse` of retention.ts. */
  expectReuse(manager: number, ids: Uint32Array, reuse: number, ...where: PromptWords): number;
  closeSequence(manager: number, slot: number, generation: number, reuse: number): number;

  /** The batch stands in the memory. */
  schedule(manager: number, entries: number): number;
  beginExecute(manager: number, slot: number, generation: number): number;
  endExecute(manager: number, slot: number, generation: number, ok: boolean): number;
  /** Of the sequence's entry in the step only the first `count` tokens. */
  accept(
    manager: number,
    slot: number,
    generation: number,
    sequence: number,
    sequenceGeneration: number,
    count: number,
  ): number;
  commit(manager: number, slot: number, generation: number, ids?: Uint32Array): number;
  abort(manager: number, slot: number, generation: number): number;
  /** `mode`: 0 swaps, 1 drops, 2 does what costs less. */
  preempt(manager: number, slot: number, generation: number, mode: number): number;
  /** `sequences`: of each its slot and generation. */
  victim(manager: number, sequences: Uint32Array, blocks: number): number;
  /** `direction`: 0 offloads, 1 onboards. */
  reportTransfer(manager: number, direction: number, blocks: number, milliseconds: number): number;
  reportPrefill(manager: number, tokens: number, past: number, milliseconds: number): number;
  /** Three parts each of what an offload, an onboard and a prefill take; NaN where not reported. */
  getCosts(manager: number, out: Float64Array): number;
  demote(manager: number, ids: Uint32Array, ...where: PromptWords): number;
  prefetch(manager: number, ids: Uint32Array, ...where: PromptWords): number;
  beginTransfer(manager: number, ticket: number): number;
  endTransfer(manager: number, ticket: number, ok: boolean): number;

  /** Bytes that native code of the process has allocated and not freed, in `out`; 0 where the C library tells none. */
  measureHeap(out: Float64Array): number;

  /** Puts the memory's id into `out`; where the machine has no room for it, the bytes that there are. */
  createMemory(bytes: number, out: Float64Array): number;
  /** A buffer over a part of the memory, which it keeps; or a status. Each part once. */
  viewMemory(memory: number, offset: number, bytes: number): ArrayBuffer | number;
  /** Once. Settles when every page was touched, or the memory was closed before. */
  touchMemory(memory: number): Promise<number> | number;
  /** Waits for what is moved, and gives the pages back. */
  closeMemory(memory: number): number;
  /** The memory stays until its last view is gone. */
  forgetMemory(memory: number): number;
  /**
   * Moves the blocks of records `first` to `end` of `moves`, all of one group, into the memory (`store`) or out
   * of it, on this thread and others. `near` is the device's side: the id of another memory, or packed records.
   */
  moveBlocks(...move: MoveArguments): number;
  /**
   * The yardstick of `moveBlocks`: the same pieces, each of so many threads copying an equal part with memcpy; the
   * seconds that it takes in `out`. Not for int8.
   */
  copyPlainly(...move: [...move: MoveArguments, threads: number, out: Float64Array]): number;
  /** Returns when nothing moves. */
  drainMoves(): number;
  /** Milliseconds that this thread has been on a processor, in `out`. A yardstick, too. */
  readThreadClock(out: Float64Array): number;
  /** How many threads move blocks, the caller of `moveBlocks` being one; by default one a processor, at most 4. */
  setCopyThreads(threads: number): number;
  /** As `moveBlocks`, on other threads only. Until it settles, `near` must stay as it is. */
  beginMoveBlocks(...move: MoveArguments): Promise<number> | number;
}

export type MoveArguments = readonly [
  memory: number,
  store: boolean,
  shape: BlockShape,
  moves: Uint32Array,
  first: number,
  end: number,
  near: Uint8Array | number,
];

/**
 * How the blocks of a group lie: the offset of the first record in the memory, records, bytes of one; blocks on
 * the device's side; the element type there where records are int8 (1: f32, 2: f16), else 0, and values a head.
 * Then for each plane: its offset on the device's side, the bytes of a block there, its offset in a record.
 * Packed records are one plane whose blocks are numbered by the moves.
 */
export type BlockShape = Float64Array;

/** Words and doubles of the reply; `native/binding/reply.h` has the same. */
export const Reply = {
  slot: 0,
  generation: 1,
  cached: 2,
  needed: 3,
  free: 4,
  inFlight: 5,
  ticket: 6,
  moves: 7,
  device: 8,
  host: 9,
  computing: 10,
  manager: 11,
  eventWords: 18,
  moreEvents: 19,
  admits: 20,
  worth: 21,
  victim: 22,
  victimBlocks: 23,
  victimMode: 24,
  /** In doubles. */
  reals: 6,
} as const;

export const native: Native = load();

function load(): Native {
  try {
    // Where package.json says; the same from src/ and from dist/.
    return createRequire(import.meta.url)('#addon') as Native;
  } catch (cause) {
    throw new PagedKvError(
      'NATIVE_MISSING',
      'the native addon is missing or was built for another platform: run `npx cmake-js compile` in ' +
        'the folder of pagedkv (it needs CMake and a C++20 compiler)',
      { cause },
    );
  }
}
