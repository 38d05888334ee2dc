/**
 * What attention reads, on the GPU: the block table of every group, and the small lists of the step that was
 * executed last. Buffers are reused; only what a step changed is uploaded.
 */
import type { Attention, CacheLayout, GroupTables } from '../plan.js';
import { UPDATE_WORDS, WORD_BYTES } from '../words.js';
import { BufferUsage } from './flags.js';
import { roundUp } from './slabs.js';

/** Words between changed cells that are uploaded along with them, since each upload costs microseconds. */
const MERGE_GAP = 512;

/** Slots that the slot mapping has room for at first; it doubles when a step has more tokens. */
const FIRST_TOKENS = 1024;

/** Words of the list buffer before the first list: batch, tokens. */
const HEADER_WORDS = 2;

/** Where the lists of a step begin in their buffer, in words: constants of a layout, for kernels to know. */
export interface ListOffsets {
  /** `u32`: sequences in the batch. */
  readonly batch: number;
  /** `u32`: query tokens in the batch. */
  readonly tokens: number;
  readonly rows: number;
  readonly pastLengths: number;
  readonly cumulativeLengths: number;
}

/** The lists of a step on the CPU, each with room for more than the step has. */
export interface ListWords {
  readonly batch: number;
  readonly rows: Int32Array;
  readonly pastLengths: Int32Array;
  readonly cumulativeLengths: Int32Array;
}

/** The tables of the step executed last, to bind. The same object always; its members follow the steps. */
export interface StepTables {
  /** Sequences and query tokens of the step. */
  readonly batch: number;
  readonly tokens: number;
  /** Counts the steps whose tables were uploaded. */
  readonly uploads: number;
  /** What `lists` holds of the step, on this side. */
  readonly words: ListWords;
  /** Counts up when a buffer was replaced by a larger one: bind groups made before are out of date. */
  readonly version: number;
  readonly offsets: ListOffsets;
  /** Batch, tokens, rows, past lengths and cumulative lengths of the step, at `offsets`. */
  readonly lists: GPUBuffer;
  /** By group: `int32 [maxSequences, maxBlocksPerSequence]`. */
  readonly blockTables: readonly GPUBuffer[];
  /** By group: `int32 [tokens]`, with room for more. */
  readonly slotMappings: readonly GPUBuffer[];
  /** `uint32 [batch]`: rows of the block tables. */
  readonly rows: GPUBufferBinding;
  /** `int32 [batch]`. */
  readonly pastLengths: GPUBufferBinding;
  /** `int32 [batch + 1]`. */
  readonly cumulativeLengths: GPUBufferBinding;
}

export class UploadedTables implements StepTables {
  batch = 0;
  tokens = 0;
  version = 0;
  uploads = 0;
  readonly words: ListWords;
  readonly offsets: ListOffsets;
  readonly lists: GPUBuffer;
  readonly blockTables: readonly GPUBuffer[];
  slotMappings: readonly GPUBuffer[];

  readonly #device: GPUDevice;
  readonly #layout: CacheLayout;
  /** The lists as they are uploaded, in one piece. */
  readonly #mirror: Int32Array<ArrayBuffer>;
  #tokenCapacity = FIRST_TOKENS;

  constructor(device: GPUDevice, layout: CacheLayout) {
    this.#device = device;
    this.#layout = layout;
    this.offsets = listOffsets(layout, device.limits.minStorageBufferOffsetAlignment / WORD_BYTES);
    const words = this.offsets.cumulativeLengths + layout.maxSequences + 1;
    this.#mirror = new Int32Array(words);
    this.words = this.#listWords();
    this.lists = this.#createBuffer('lists', words);
    const cells = layout.maxSequences * layout.maxBlocksPerSequence;
    this.blockTables = layout.groups.map(() => this.#createBuffer('block table', cells));
    this.slotMappings = this.#createSlotMappings();
  }

  /** Queues the tables of a step. O(changed cells + batch + tokens). */
  upload(attention: Attention): void {
    this.batch = attention.batch;
    this.tokens = attention.tokens;
    this.uploads += 1;
    this.#reserve(attention.tokens);
    this.#uploadLists(attention);
    this.uploadCells(attention);
    for (let g = 0; g < attention.groups.length; g++) {
      const { slotMapping } = attention.groups[g]!;
      this.#write(this.slotMappings[g]!, 0, slotMapping, 0, attention.tokens);
    }
  }

  /** Queues what changed in the block tables, and nothing else. */
  uploadCells({ groups }: Attention): void {
    for (let g = 0; g < groups.length; g++) this.#uploadChanges(this.blockTables[g]!, groups[g]!);
  }

  get rows(): GPUBufferBinding {
    return this.#list(this.offsets.rows, this.batch);
  }

  get pastLengths(): GPUBufferBinding {
    return this.#list(this.offsets.pastLengths, this.batch);
  }

  get cumulativeLengths(): GPUBufferBinding {
    return this.#list(this.offsets.cumulativeLengths, this.batch + 1);
  }

  destroy(): void {
    for (const buffer of [this.lists, ...this.blockTables, ...this.slotMappings]) buffer.destroy();
  }

  #listWords(): ListWords {
    const { offsets } = this;
    const mirror = this.#mirror;
    return {
      get batch() {
        return mirror[offsets.batch]!;
      },
      rows: mirror.subarray(offsets.rows),
      pastLengths: mirror.subarray(offsets.pastLengths),
      cumulativeLengths: mirror.subarray(offsets.cumulativeLengths),
    };
  }

  #list(offset: number, length: number): GPUBufferBinding {
    return { buffer: this.lists, offset: offset * WORD_BYTES, size: length * WORD_BYTES };
  }

  #uploadLists(attention: Attention): void {
    const { offsets } = this;
    const { batch } = attention;
    const mirror = this.#mirror;
    mirror[offsets.batch] = batch;
    mirror[offsets.tokens] = attention.tokens;
    for (let i = 0; i < batch; i++) {
      mirror[offsets.rows + i] = attention.rows[i]!;
      mirror[offsets.pastLengths + i] = attention.pastLengths[i]!;
    }
    for (let i = 0; i <= batch; i++) {
      mirror[offsets.cumulativeLengths + i] = attention.cumulativeLengths[i]!;
    }
    this.#write(this.lists, 0, mirror, 0, offsets.cumulativeLengths + batch + 1);
  }

  /** Uploads the changed ranges, several in one where they lie close together. */
  #uploadChanges(buffer: GPUBuffer, tables: GroupTables): void {
    const { blockTable, tableUpdates } = tables;
    const width = this.#layout.maxBlocksPerSequence;
    let begin = 0;
    let end = 0;
    for (let at = 0; at < tableUpdates.length; at += UPDATE_WORDS) {
      const first = tableUpdates[at]! * width + tableUpdates[at + 1]!;
      const last = first + tableUpdates[at + 2]!;
      const isNear = first >= begin && first <= end + MERGE_GAP;
      if (end > 0 && isNear) {
        end = Math.max(end, last);
        continue;
      }
      this.#write(buffer, begin, blockTable, begin, end - begin);
      begin = first;
      end = last;
    }
    this.#write(buffer, begin, blockTable, begin, end - begin);
  }

  #write(buffer: GPUBuffer, offset: number, data: Int32Array, first: number, length: number): void {
    if (length === 0) return;
    const source = data as Int32Array<ArrayBuffer>;
    this.#device.queue.writeBuffer(buffer, offset * WORD_BYTES, source, first, length);
  }

  #reserve(tokens: number): void {
    if (tokens <= this.#tokenCapacity) return;
    while (this.#tokenCapacity < tokens) this.#tokenCapacity *= 2;
    // A pass that was submitted keeps what it reads alive; the buffers only go once it is done.
    for (const buffer of this.slotMappings) buffer.destroy();
    this.slotMappings = this.#createSlotMappings();
    this.version += 1;
  }

  #createSlotMappings(): GPUBuffer[] {
    return this.#layout.groups.map(() => this.#createBuffer('slot mapping', this.#tokenCapacity));
  }

  #createBuffer(name: string, words: number): GPUBuffer {
    return this.#device.createBuffer({
      label: `pagedkv ${name}`,
      size: words * WORD_BYTES,
      usage: BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST,
    });
  }
}

/** Every list begins where a binding may begin, so that an engine can bind it alone. */
function listOffsets(layout: CacheLayout, alignment: number): ListOffsets {
  const rows = roundUp(HEADER_WORDS, alignment);
  const pastLengths = roundUp(rows + layout.maxSequences, alignment);
  const cumulativeLengths = roundUp(pastLengths + layout.maxSequences, alignment);
  return { batch: 0, tokens: 1, rows, pastLengths, cumulativeLengths };
}
