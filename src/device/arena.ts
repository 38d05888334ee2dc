/**
 * The host tier of a cache, in native memory. A block's planes lie together, one record a block, so that a block
 * comes and goes as one piece and adjacent blocks as one larger piece; native threads move them.
 */
import { check } from '../errors.js';
import { native, type BlockShape } from '../native.js';
import type { CacheLayout, GroupLayout } from '../plan.js';
import { MOVE_WORDS } from '../words.js';
import { groupAt } from './layout.js';
import { NativeMemory } from './memory.js';
import { recordLayout, type Quantization, type RecordLayout } from './quantized.js';

/** A typed array addresses at most 4 GiB in the oldest Node supported, so large tiers are seen as several. */
const SLAB_BYTES = 2 ** 30;

/** Groups begin at pages. */
const ALIGNMENT = 4096;

export interface ArenaOptions {
  /** How records are kept; as they are by default. */
  readonly quantize?: Quantization | undefined;
  /** Bytes of the largest array that shows a part of the arena. */
  readonly slabBytes?: number;
}

class GroupArena {
  readonly record: RecordLayout;
  /** Of packed records. */
  readonly shape: BlockShape;
  readonly offset: number;
  readonly bytes: number;
  readonly #hostBlocks: number;
  readonly #blocksPerSlab: number;
  #slabs: readonly Uint8Array<ArrayBuffer>[] = [];

  constructor(layout: CacheLayout, group: GroupLayout, offset: number, options: ArenaOptions) {
    this.record = recordLayout(layout, group, options.quantize);
    const recordBytes = this.record.bytes;
    const slabBytes = options.slabBytes ?? SLAB_BYTES;
    this.offset = offset;
    this.bytes = group.hostBlocks * recordBytes;
    this.#hostBlocks = group.hostBlocks;
    this.#blocksPerSlab = Math.max(1, Math.floor(slabBytes / recordBytes));
    this.shape = this.shapeOf([{ packed: 0, bytes: recordBytes, record: 0 }]);
  }

  open(memory: NativeMemory): void {
    const slabs: Uint8Array<ArrayBuffer>[] = [];
    for (let first = 0; first < this.#hostBlocks; first += this.#blocksPerSlab) {
      const blocks = Math.min(this.#blocksPerSlab, this.#hostBlocks - first);
      const begin = this.offset + first * this.record.bytes;
      slabs.push(memory.view(begin, blocks * this.record.bytes));
    }
    this.#slabs = slabs;
  }

  close(): void {
    this.#slabs = [];
  }

  slabOf(block: number): Uint8Array<ArrayBuffer> {
    return this.#slabs[Math.floor(block / this.#blocksPerSlab)]!;
  }

  offsetOf(block: number): number {
    return (block % this.#blocksPerSlab) * this.record.bytes;
  }

  /** Of packed records that are in these parts. */
  shapeOf(parts: readonly PackedPart[]): BlockShape {
    const shape = new Float64Array(SHAPE_WORDS + parts.length * PART_WORDS);
    shape.set([this.offset, this.#hostBlocks, this.record.bytes]);
    for (const [i, { packed, bytes, record }] of parts.entries()) {
      shape.set([packed, bytes, record], SHAPE_WORDS + i * PART_WORDS);
    }
    return shape;
  }
}

/** Of a `BlockShape`: before its planes, and for each. */
const SHAPE_WORDS = 6;
const PART_WORDS = 3;

/**
 * What packed records have of every record: `bytes` from `record` on. That of the first lies at `packed`, and
 * those of the others follow.
 */
export interface PackedPart {
  readonly packed: number;
  readonly bytes: number;
  readonly record: number;
}

export class HostArena {
  readonly layout: CacheLayout;
  readonly #memory: NativeMemory;
  readonly #groups: readonly GroupArena[];

  /**
   * Throws `OUT_OF_MEMORY`, before it allocates, where the machine or a control group has no room for the host
   * tier, and `NO_MODEL` where a layout of bare groups is to be quantized.
   */
  constructor(layout: CacheLayout, options: ArenaOptions = {}) {
    this.layout = layout;
    let end = 0;
    this.#groups = layout.groups.map((group) => {
      const arena = new GroupArena(layout, group, end, options);
      end = Math.ceil((end + arena.bytes) / ALIGNMENT) * ALIGNMENT;
      return arena;
    });
    this.#memory = new NativeMemory(end, 'the host tier');
    for (const group of this.#groups) group.open(this.#memory);
  }

  /**
   * Touches all memory on a thread of its own: the first touch of a page costs far more than copying over it later.
   * Blocks may be stored and loaded meanwhile. Resolves when it is done or the arena is destroyed.
   */
  touch(): Promise<void> {
    return this.#memory.touch();
  }

  /** How the records of a group lie. */
  record(group: number): RecordLayout {
    return this.#group(group).record;
  }

  /** One block's record: its planes in order. The memory itself. */
  block(group: number, block: number): Uint8Array<ArrayBuffer> {
    const arena = this.#group(group);
    const offset = arena.offsetOf(block);
    return arena.slabOf(block).subarray(offset, offset + arena.record.bytes);
  }

  /**
   * Copies packed records, those of `moves` from `first` to `end`, end to end in `bytes`, to the host blocks that
   * are their targets; all of one group. `parts`: they are not whole records end to end, but lie so. Native threads
   * do it: until the promise settles, `bytes` must not change or be unmapped, and the blocks be in no other call.
   * Throws `OUT_OF_RANGE` for a block that is not there.
   */
  async store(
    moves: Uint32Array,
    first: number,
    end: number,
    bytes: Uint8Array,
    parts?: readonly PackedPart[],
  ): Promise<void> {
    await this.#move(true, moves, first, end, bytes, parts);
  }

  /** As `store`, the other way: the host blocks that are the sources, end to end into `bytes`. */
  async load(
    moves: Uint32Array,
    first: number,
    end: number,
    bytes: Uint8Array,
    parts?: readonly PackedPart[],
  ): Promise<void> {
    await this.#move(false, moves, first, end, bytes, parts);
  }

  /**
   * Waits until nothing is stored or loaded any more, some milliseconds at most, and gives the memory back. What
   * was begun before has been done; its promises resolve.
   */
  destroy(): void {
    for (const group of this.#groups) group.close();
    this.#memory.close();
  }

  async #move(
    store: boolean,
    moves: Uint32Array,
    first: number,
    end: number,
    bytes: Uint8Array,
    parts?: readonly PackedPart[],
  ): Promise<void> {
    if (first === end) return;
    const group = this.#group(moves[first * MOVE_WORDS]!);
    const shape = parts ? group.shapeOf(parts) : group.shape;
    const { id } = this.#memory;
    check(await native.beginMoveBlocks(id, store, shape, moves, first, end, bytes));
  }

  #group(group: number): GroupArena {
    groupAt(this.layout, group);
    return this.#groups[group]!;
  }
}
