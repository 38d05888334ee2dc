/**
 * The host tier of a cache, in native memory. A block's planes lie together, one record a block, so that a block
 * comes and goes as one piece and adjacent blocks as one larger piece; native threads move them.
 */
import { check } from '../errors.js';
import { native, type BlockShape, type MoveArguments } from '../native.js';
import type { CacheLayout, GroupLayout, ModelShape } from '../plan.js';
import { MOVE_WORDS } from '../words.js';
import { groupAt, modelOf } from './layout.js';
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

/** Of what a plane has on the device's side: where block 0 begins, and the bytes of a block. */
export interface NearPart {
  readonly near: number;
  readonly bytes: number;
  readonly plane: number;
}

class GroupArena {
  readonly record: RecordLayout;
  /** Of packed records. */
  readonly packed: BlockShape;
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
    this.packed = this.shapeOf(0, PLAIN, [{ near: 0, bytes: recordBytes, plane: 0 }]);
  }

  shapeOf(
    nearBlocks: number,
    [element, headDim]: Elements,
    parts: readonly NearPart[],
  ): BlockShape {
    const host = [this.offset, this.#hostBlocks, this.record.bytes];
    const words = parts.flatMap(({ near, bytes, plane }) => [
      ...[near, bytes],
      this.record.planes[plane]!.offset,
    ]);
    return Float64Array.of(...host, nearBlocks, element, headDim, ...words);
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
}

/** As `native.moveBlocks` takes them, after the memory. */
export type BlockMove = MoveArguments extends readonly [number, ...infer Rest] ? Rest : never;

/** Which records, and where they are packed; see `HostArena.store`. */
type PackedRecords = readonly [
  moves: Uint32Array,
  first: number,
  end: number,
  bytes: Uint8Array,
  parts?: readonly NearPart[],
];

/** The element type as native code numbers it, 0 where records are what the device has, and values a head. */
type Elements = readonly [element: number, headDim: number];
const PLAIN: Elements = [0, 0];

export class HostArena {
  readonly layout: CacheLayout;
  readonly quantize: Quantization | undefined;
  readonly memory: NativeMemory;
  readonly #groups: readonly GroupArena[];

  /**
   * Throws `OUT_OF_MEMORY`, before it allocates, where the machine or a control group has no room for the host
   * tier, and `NO_MODEL` where a layout of bare groups is to be quantized.
   */
  constructor(layout: CacheLayout, options: ArenaOptions = {}) {
    this.layout = layout;
    this.quantize = options.quantize;
    let end = 0;
    this.#groups = layout.groups.map((group) => {
      const arena = new GroupArena(layout, group, end, options);
      end = Math.ceil((end + arena.bytes) / ALIGNMENT) * ALIGNMENT;
      return arena;
    });
    this.memory = new NativeMemory(end, 'the host tier');
    for (const group of this.#groups) group.open(this.memory);
  }

  /**
   * Touches all memory on a thread of its own: the first touch of a page costs far more than copying over it later.
   * Blocks may be stored and loaded meanwhile. Resolves when it is done or the arena is destroyed.
   */
  touch(): Promise<void> {
    return this.memory.touch();
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
   * are their targets; all of one group. `parts`: they do not lie end to end, but so. Native threads do it: until
   * the promise settles, `bytes` must not change or be unmapped, and the blocks be in no other call. Throws
   * `OUT_OF_RANGE` for a block that is not there.
   */
  store(...packed: PackedRecords): Promise<void> {
    return this.#movePacked(true, ...packed);
  }

  /** As `store`, the other way: the host blocks that are the sources into `bytes`. */
  load(...packed: PackedRecords): Promise<void> {
    return this.#movePacked(false, ...packed);
  }

  /** How planes that lie apart in another memory, or one that is given as packed bytes, come to be records here. */
  shape(group: number, nearBlocks: number, parts: readonly NearPart[]): BlockShape {
    const elements = this.quantize === undefined ? PLAIN : elementsOf(modelOf(this.layout));
    return this.#group(group).shapeOf(nearBlocks, elements, parts);
  }

  /** Copies one plane of one block, as the device has it: into the host tier (`store`) or out of it. */
  movePlane(store: boolean, group: number, plane: number, block: number, bytes: Uint8Array): void {
    const shape = this.shape(group, 0, [{ near: 0, bytes: bytes.length, plane }]);
    this.move(store, shape, Uint32Array.of(group, block, block), 0, 1, bytes);
  }

  /** Moves blocks of one group on this thread and others; has done so when it returns. See `native.moveBlocks`. */
  move(...[store, ...move]: BlockMove): void {
    check(native.moveBlocks(this.memory.id, store, ...move));
  }

  /** As `move`, on other threads: resolves when it is done. */
  async begin(...[store, ...move]: BlockMove): Promise<void> {
    check(await native.beginMoveBlocks(this.memory.id, store, ...move));
  }

  /** Waits, some milliseconds at most, until no arena of this thread stores or loads. */
  drain(): void {
    check(native.drainMoves());
  }

  /**
   * Waits until nothing is stored or loaded any more, some milliseconds at most, and gives the memory back. What
   * was begun before has been done; its promises resolve.
   */
  destroy(): void {
    for (const group of this.#groups) group.close();
    this.memory.close();
  }

  async #movePacked(
    store: boolean,
    ...[moves, first, end, bytes, parts]: PackedRecords
  ): Promise<void> {
    if (first === end) return;
    await this.begin(store, this.#packed(moves, first, parts), moves, first, end, bytes);
  }

  /** What is packed is as records are. */
  #packed(moves: Uint32Array, first: number, parts?: readonly NearPart[]): BlockShape {
    const group = this.#group(moves[first * MOVE_WORDS]!);
    return parts === undefined ? group.packed : group.shapeOf(0, PLAIN, parts);
  }

  #group(group: number): GroupArena {
    groupAt(this.layout, group);
    return this.#groups[group]!;
  }
}

function elementsOf({ dtype, headDim }: ModelShape): Elements {
  return [dtype === 'f32' ? 1 : 2, headDim];
}
