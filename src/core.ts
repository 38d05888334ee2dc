/**
 * What a manager and everything it hands out share: the id of the manager in the native core, and the
 * memory that both sides see. All state is the core's; what is here are views and constants.
 */
import type { Batch } from './batch.js';
import { constrainedMemory } from 'node:process';
import { totalmem } from 'node:os';
import { ONBOARDING } from './costs.js';
import { check, PagedKvError, Status, statusError } from './errors.js';
import { native, Reply } from './native.js';
import { EVICTION_POLICIES, HOST_MODES, HOST_WRITES, type Config } from './options.js';
import { readTime } from './retention.js';
import { toMiB, WORD_BYTES } from './words.js';

/** As much of it as is used here; neither Node's types nor the language's declare it. */
declare const WebAssembly: {
  readonly Memory: new (pages: { initial: number; maximum: number }) => { buffer: ArrayBuffer };
};

/** Of an entry of a batch: slot, generation, nonce, count. */
export const ENTRY_WORDS = 4;
const NONCE_WORD = 2;
/** Of the reply, where the core reads the time. */
const TIME_REAL = 2;
/** There: the core reads the system's clock. */
const SYSTEM_TIME = -1;
const WASM_PAGE_BYTES = 65536;
/** Of one `WebAssembly.Memory`. */
const MAX_SHARED_BYTES = 65536 * WASM_PAGE_BYTES;

/** `SharedLayout` of `native/core/shared_memory.h`, in the order of its declaration. Words. */
const OFFSETS = [
  'batchEntries',
  'batchTokens',
  'sequenceGeneration',
  'sequenceLength',
  'sequenceCached',
  'sequenceState',
  'rowSerials',
  'transferMoves',
  'blockTables',
  'steps',
  'stepWords',
  'stepRows',
  'stepPast',
  'stepCumulative',
  'stepSkipped',
  'stepSlots',
  'stepUpdates',
  'stepCopies',
  'stepOffloads',
  'stepOnboards',
  'stepHostHits',
  'words',
] as const;

/** Those of a step count from the step's begin, `steps + i * stepWords`; the others from the memory's. */
export type Offsets = Readonly<Record<(typeof OFFSETS)[number], number>>;

export class Core {
  /** In the native core; 0 once closed, which no manager has. */
  id: number;
  /** The whole memory, the reply at its front; empty once closed. */
  words: Uint32Array;
  ints: Int32Array;
  /** Counts in doubles: only the reply. */
  reals: Float64Array;
  readonly offsets: Offsets;
  readonly config: Config;
  /** The batch that stands in the memory. */
  bound: Batch | undefined = undefined;

  /** Throws `OUT_OF_MEMORY` before it allocates where the machine cannot hold it. */
  constructor(config: Config) {
    const words = toWords(config);
    const { metadataBytes, offsets } = measure(words);
    this.config = config;
    this.offsets = offsets;
    const sharedBytes = offsets.words * WORD_BYTES;
    refuseTooLarge(metadataBytes, sharedBytes);
    const buffer = allocate(sharedBytes);
    this.words = new Uint32Array(buffer, 0, offsets.words);
    this.ints = new Int32Array(buffer, 0, offsets.words);
    this.reals = new Float64Array(buffer, 0, native.replyWords / 2).subarray(Reply.reals);
    this.reals[TIME_REAL] = SYSTEM_TIME;
    check(native.create(words, this.words));
    this.id = this.words[Reply.manager]!;
    // The nonce of every entry of a batch is the same, since a batch takes only sequences of this core.
    for (let entry = 0; entry < config.maxBatchSequences; entry++) {
      this.words[offsets.batchEntries + entry * ENTRY_WORDS + NONCE_WORD] = this.id;
    }
    collected.register(this, this.id);
  }

  /** Tells the core what time it is, before each call that time matters to. Throws `INVALID_CLOCK`. */
  tick(): void {
    const { clock } = this.config;
    if (clock !== undefined) this.reals[TIME_REAL] = readTime(clock);
  }

  /** Closes every sequence and step, and lets go of the memory once the caller's views do. */
  close(): void {
    native.closeManager(this.id);
    this.id = 0;
    this.words = new Uint32Array();
    this.ints = new Int32Array();
    this.reals = new Float64Array();
    this.bound = undefined;
  }

  /** Throws `MANAGER_CLOSED` when it is. */
  checkOpen(): void {
    if (this.id === 0) throw statusError(Status.managerClosed);
  }
}

/** Sequences keep their core alive: when it is collected, nothing can ask for it any more. */
const collected = new FinalizationRegistry<number>((id) => {
  native.closeManager(id);
});

/** As `ReadConfig` in `native/binding/managers.cc` reads it. */
function toWords(config: Config): Uint32Array {
  return Uint32Array.of(
    config.blockSize,
    config.maxSequences,
    config.maxSequenceTokens,
    config.maxBatchSequences,
    config.maxBatchTokens,
    config.maxOpenSteps,
    config.maxStepTransfers,
    config.minPartialTokens,
    config.alwaysWrites ? 1 : 0,
    EVICTION_POLICIES.indexOf(config.eviction),
    config.events ? 1 : 0,
    HOST_MODES.indexOf(config.hostMode),
    HOST_WRITES.indexOf(config.hostWrite),
    ONBOARDING.indexOf(config.onboard),
    config.lowWater,
    config.highWater,
    ...config.groups.flatMap(({ deviceBlocks, hostBlocks, window, chunk, sinks, rollback }) => [
      deviceBlocks,
      hostBlocks,
      window ?? 0,
      chunk ?? 0,
      sinks ?? 0,
      rollback ?? 1,
    ]),
  );
}

function measure(config: Uint32Array): { metadataBytes: number; offsets: Offsets } {
  const out = new Float64Array(1 + OFFSETS.length);
  check(native.measure(config, out));
  const entries = OFFSETS.map((name, i) => {
    const isOfStep = name.startsWith('step') && name !== 'steps';
    // A number that was read from an array of doubles stays one until it is rounded, and an index that
    // is a double makes every access slower.
    return [name, Math.floor(out[1 + i]! + (isOfStep ? 0 : native.replyWords))] as const;
  });
  return { metadataBytes: out[0]!, offsets: Object.fromEntries(entries) as Offsets };
}

function refuseTooLarge(metadataBytes: number, sharedBytes: number): void {
  const machineBytes = Math.min(totalmem(), constrainedMemory() || Infinity);
  const bytes = metadataBytes + sharedBytes;
  if (bytes <= machineBytes && sharedBytes <= MAX_SHARED_BYTES) return;
  throw new PagedKvError(
    'OUT_OF_MEMORY',
    `blocks and tables of this many need ${toMiB(metadataBytes)} MiB of bookkeeping and ` +
      `${toMiB(sharedBytes)} MiB of tables (at most ${toMiB(MAX_SHARED_BYTES)}), and there are ` +
      `${toMiB(machineBytes)} MiB in all: give fewer blocks, or a smaller maxSequences, ` +
      'maxSequenceTokens or maxBatchTokens',
  );
}

/** A buffer that nobody can detach, since nobody else has the `WebAssembly.Memory` it belongs to. */
function allocate(bytes: number): ArrayBuffer {
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer;
  } catch (cause) {
    throw new PagedKvError('OUT_OF_MEMORY', `no ${toMiB(bytes)} MiB for tables`, { cause });
  }
}
