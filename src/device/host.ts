/**
 * KV memory in host memory: one `ArrayBuffer` a plane. For engines that attend on the CPU, and the simplest
 * device there is: what the others do is checked against it. The host tier is an arena beside it.
 */
import { PagedKvError } from '../errors.js';
import type { BlockShape } from '../native.js';
import type { CacheLayout, Executable, Execution, Moves } from '../plan.js';
import { readOptions } from '../validate.js';
import { COPY_WORDS, MOVE_WORDS } from '../words.js';
import { HostArena, type BlockMove } from './arena.js';
import { checkByteLength, copyMoves, type BlockCache } from './cache.js';
import {
  blockBytes,
  checkBlock,
  findPlane,
  groupAt,
  modelOf,
  planeAt,
  planeBlockBytes,
  type HasLayout,
  type Tier,
} from './layout.js';
import { PlaneMemory } from './planes.js';
import { readQuantization, type Quantization } from './quantized.js';
import { endOfGroup } from './runs.js';
import { ticketOf } from './ticket.js';
import { TransferClock, type Way } from './transfer-clock.js';

export { poisonBlocks, type BlockAccess, type BlockCache } from './cache.js';
export type { HasLayout, Tier } from './layout.js';
export type { Quantization } from './quantized.js';

/** Elements of a plane: values for f32, bit patterns for f16. */
export type PlaneView = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;

export interface HostCacheOptions {
  /**
   * How the host tier keeps blocks: as they are (default), or as `'int8'` with one scale for each token and head,
   * in half the bytes of f16 and a quarter of f32. A value then comes back off by no more than half a scale,
   * `max |x| / 254` over its head, but for rounding: by 0.65% in relative L2 where a head is normal and has 128
   * values, below 1% where its maximum is less than 4.4 times its root mean square. Needs a model.
   */
  readonly quantize?: Quantization;
}

const NAMES = ['quantize'] as const satisfies readonly (keyof HostCacheOptions)[];

/** What moves faster than other threads are told of it moves at once. */
const SMALL_BYTES = 256 * 1024;

export class HostCache implements BlockCache {
  readonly layout: CacheLayout;
  readonly quantize: Quantization | undefined;
  readonly #device: PlaneMemory;
  readonly #arena: HostArena;
  /** By group. */
  readonly #shapes: readonly BlockShape[];
  /** Bytes of a block. */
  readonly #largestBlock: number;
  /** The end of the execution that was asked for last, while one is under way. */
  #tail: Promise<void> | undefined;
  #destroyed = false;

  /**
   * Allocates both tiers, zeroed. Throws `OUT_OF_MEMORY`, before it allocates, where the machine has no room for
   * one; `INVALID_OPTION` or `UNKNOWN_OPTION`; `NO_MODEL` where planes of unknown elements are to be quantized.
   */
  constructor(kv: HasLayout, options: HostCacheOptions = {}) {
    const { quantize } = readOptions('the cache', options, NAMES);
    this.layout = kv.layout;
    this.quantize = readQuantization(quantize);
    this.#device = new PlaneMemory(kv.layout);
    this.#arena = new HostArena(kv.layout, { quantize: this.quantize });
    this.#shapes = kv.layout.groups.map((_, group) => this.#device.shape(group, this.#arena));
    this.#largestBlock = Math.max(...kv.layout.groups.map((group) => blockBytes(kv.layout, group)));
  }

  /**
   * Executes the moves of a step or transfer. Few bytes are moved before it returns, more by other threads; calls
   * that overlap run one after the other, in their order. When a move fails, the work ends as failed and the error
   * is passed on.
   */
  execute(work: Executable): Execution {
    return ticketOf(this.#execute(work));
  }

  /** The keys of a layer, `[deviceBlocks, blockSize, kvHeads, headDim]`: a view, made anew by each call. */
  key(layer: number): PlaneView {
    return this.#elements(layer, 'key');
  }

  /** The values of a layer, shaped as its keys. */
  value(layer: number): PlaneView {
    return this.#elements(layer, 'value');
  }

  /**
   * All bytes of one plane of the device tier; block `b` begins at `b * blockSize * bytesPerToken`. The memory
   * itself, no copy.
   */
  plane(group: number, plane: number): Uint8Array<ArrayBuffer> {
    this.#checkUsable();
    planeAt(this.layout, group, plane);
    return this.#device.planes[group]![plane]!;
  }

  readBlock(
    group: number,
    plane: number,
    block: number,
    tier: Tier = 'device',
  ): Promise<Uint8Array<ArrayBuffer>> {
    return settle(() => {
      this.#checkBlock(group, plane, block, tier);
      if (tier === 'device') return this.#deviceBlock(group, plane, block).slice();
      const bytes = new Uint8Array(
        planeBlockBytes(this.layout, planeAt(this.layout, group, plane)),
      );
      this.#arena.movePlane(false, group, plane, block, bytes);
      return bytes;
    });
  }

  writeBlock(
    group: number,
    plane: number,
    block: number,
    bytes: Uint8Array,
    tier: Tier = 'device',
  ): Promise<void> {
    return settle(() => {
      this.#checkBlock(group, plane, block, tier);
      checkByteLength(bytes, planeBlockBytes(this.layout, planeAt(this.layout, group, plane)));
      if (tier === 'device') {
        this.#deviceBlock(group, plane, block).set(bytes);
      } else {
        this.#arena.movePlane(true, group, plane, block, bytes);
      }
    });
  }

  /** Waits for what is being moved, some milliseconds at most, and gives the memory back; views of it read zeros. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#arena.destroy();
    this.#device.memory.close();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  #execute(work: Executable): Promise<void> {
    if (this.#tail === undefined && this.#bytesOf(work.moves) <= SMALL_BYTES) {
      return settle(() => this.#executeNow(work));
    }
    const run = (): Promise<void> => this.#executeBeside(work);
    const end = (this.#tail ?? Promise.resolve()).then(run, run);
    this.#tail = end;
    const forget = (): void => {
      if (this.#tail === end) this.#tail = undefined;
    };
    end.then(forget, forget);
    return end;
  }

  #checkUsable(): void {
    if (this.#destroyed) throw new PagedKvError('CACHE_DESTROYED', 'the cache was destroyed');
  }

  #checkBlock(group: number, plane: number, block: number, tier: Tier): void {
    this.#checkUsable();
    planeAt(this.layout, group, plane);
    checkBlock(groupAt(this.layout, group), tier, block);
  }

  #elements(layer: number, name: string): PlaneView {
    const { dtype } = modelOf(this.layout);
    const { group, plane } = findPlane(this.layout, layer, name);
    const { buffer } = this.plane(group, plane);
    return dtype === 'f32' ? new Float32Array(buffer) : new Uint16Array(buffer);
  }

  #deviceBlock(group: number, plane: number, block: number): Uint8Array<ArrayBuffer> {
    const size = planeBlockBytes(this.layout, planeAt(this.layout, group, plane));
    return this.#device.planes[group]![plane]!.subarray(block * size, (block + 1) * size);
  }

  /** One plane of one host block, in or out. */
  #executeNow(work: Executable): void {
    this.#checkUsable();
    work.beginExecute();
    const clock = new TransferClock();
    try {
      for (const move of this.#piecesOf(work.moves)) {
        this.#arena.move(...move);
        clock.lap(wayOf(move));
      }
      this.#copy(work.moves.copies);
    } catch (error) {
      work.endExecute(false);
      throw error;
    }
    work.endExecute(true, clock.times);
  }

  async #executeBeside(work: Executable): Promise<void> {
    this.#checkUsable();
    work.beginExecute();
    const clock = new TransferClock();
    try {
      // A step that ends while this waits leaves its memory to the next one.
      const moves = copyMoves(work.moves);
      for (const move of this.#piecesOf(moves)) {
        await this.#arena.begin(...move);
        clock.lap(wayOf(move));
      }
      this.#checkUsable();
      this.#copy(moves.copies);
    } catch (error) {
      work.endExecute(false);
      throw error;
    }
    work.endExecute(true, clock.times);
  }

  /** Offloads before onboards, each of one group. */
  *#piecesOf({ offloads, onboards }: Moves): Generator<BlockMove> {
    const { id } = this.#device.memory;
    for (const [store, moves] of [[true, offloads] as const, [false, onboards] as const]) {
      const records = moves.length / MOVE_WORDS;
      for (let first = 0, end; first < records; first = end) {
        end = endOfGroup(moves, first, records);
        yield [store, this.#shapeOf(moves, first), moves, first, end, id];
      }
    }
  }

  #shapeOf(moves: Uint32Array, first: number): BlockShape {
    const group = moves[first * MOVE_WORDS]!;
    groupAt(this.layout, group);
    return this.#shapes[group]!;
  }

  /** Between the tiers, as if all groups were the largest. */
  #bytesOf({ offloads, onboards }: Moves): number {
    return ((offloads.length + onboards.length) / MOVE_WORDS) * this.#largestBlock;
  }

  #copy(copies: Uint32Array): void {
    for (let at = 0; at < copies.length; at += COPY_WORDS) {
      const group = groupAt(this.layout, copies[at]!);
      const source = copies[at + 1]!;
      const target = copies[at + 2]!;
      const tokens = copies[at + 3]!;
      checkBlock(group, 'device', source);
      checkBlock(group, 'device', target);
      for (let p = 0; p < group.planes.length; p++) {
        const plane = group.planes[p]!;
        const size = planeBlockBytes(this.layout, plane);
        const begin = source * size;
        const end = begin + tokens * plane.bytesPerToken;
        this.#device.planes[copies[at]!]![p]!.copyWithin(target * size, begin, end);
      }
    }
  }
}

function settle<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(work());
  });
}

function wayOf([isStore]: BlockMove): Way {
  return isStore ? 'offload' : 'onboard';
}
