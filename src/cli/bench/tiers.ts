/** Both tiers of a layout in native memory, touched and filled, and blocks to move between them. */
import { HostArena } from '../../device/arena.js';
import { blockBytes } from '../../device/layout.js';
import { PlaneMemory } from '../../device/planes.js';
import type { Quantization } from '../../device/quantized.js';
import { check } from '../../errors.js';
import { KvCacheManager } from '../../manager.js';
import { native, type MoveArguments } from '../../native.js';
import type { KvCacheManagerOptions } from '../../options.js';
import type { CacheLayout, DType } from '../../plan.js';
import { movesOf } from './blocks.js';
import { timed } from './line.js';

/** Moved at once, and what they are picked from in each tier. */
export const MOVED = 1000;
const BLOCKS = 4096;
const BLOCK_SIZE = 16;
/** No plane is smaller. */
const FILLED_WORDS = 2 ** 20;

export type Shape = Pick<KvCacheManagerOptions, 'model' | 'groups'>;

/** About 64 KiB a block over 28 layers: 56 planes of 1,152 bytes. */
export const OVER_28_LAYERS = {
  model: { layers: 28, kvHeads: 1, headDim: 36, dtype: 'f16' },
} as const;

export class Tiers implements Disposable {
  /** On the device's side, of one move. */
  readonly bytes: number;
  readonly #planes: PlaneMemory;
  readonly #arena: HostArena;
  readonly #threads: number;
  readonly #near = pickBlocks();
  readonly #host = pickBlocks();

  static async make(layout: CacheLayout, threads: number, quantize?: Quantization): Promise<Tiers> {
    const tiers = new Tiers(layout, threads, quantize);
    await Promise.all([tiers.#planes.memory.touch(), tiers.#arena.touch()]);
    for (const plane of tiers.#planes.planes.flat()) fill(plane, layout.model?.dtype ?? 'f32');
    return tiers;
  }

  private constructor(layout: CacheLayout, threads: number, quantize?: Quantization) {
    this.bytes = MOVED * blockBytes(layout, layout.groups[0]!);
    this.#threads = threads;
    this.#planes = new PlaneMemory(layout);
    this.#arena = new HostArena(layout, { quantize });
  }

  /** Moves the blocks once. */
  mover(store: boolean): () => number {
    const move = this.#move(store);
    check(native.setCopyThreads(this.#threads));
    return timed(() => check(native.moveBlocks(...move)));
  }

  /** Copies them plainly. */
  copier(store: boolean): () => number {
    const move = this.#move(store);
    const out = new Float64Array(1);
    return () => {
      check(native.copyPlainly(...move, this.#threads, out));
      return out[0]!;
    };
  }

  /** Throws unless what was moved is the same on both sides. */
  checkMoved(): void {
    const { planes } = this.#arena.record(0);
    for (const [i, host] of this.#host.entries()) {
      const record = this.#arena.block(0, host);
      for (const [p, { offset, bytes }] of planes.entries()) {
        const begin = this.#near[i]! * bytes;
        const block = this.#planes.planes[0]![p]!.subarray(begin, begin + bytes);
        if (Buffer.compare(block, record.subarray(offset, offset + bytes)) === 0) continue;
        throw new Error(`block ${host} of the host tier is not what was moved`);
      }
    }
  }

  [Symbol.dispose](): void {
    this.#arena.destroy();
    this.#planes.memory.close();
  }

  #move(store: boolean): MoveArguments {
    const [sources, targets] = store ? [this.#near, this.#host] : [this.#host, this.#near];
    const moves = movesOf(sources, targets);
    const shape = this.#planes.shape(0, this.#arena);
    return [this.#arena.memory.id, store, shape, moves, 0, MOVED, this.#planes.memory.id];
  }
}

/** As many blocks in each tier as the moved ones are picked from. */
export function tiersLayout(options: Shape): CacheLayout {
  using kv = new KvCacheManager({
    ...options,
    blockSize: BLOCK_SIZE,
    device: { blocks: BLOCKS },
    host: { blocks: BLOCKS },
  });
  return kv.layout;
}

/** Values of either sign, from 1 to 2, the same in each stretch of memory. */
export function fill(plane: Uint8Array<ArrayBuffer>, dtype: DType): void {
  const words = new Uint32Array(plane.buffer, 0, FILLED_WORDS);
  const [one, mask] = dtype === 'f32' ? [0x3f800000, 0x807fffff] : [0x3c003c00, 0x83ff83ff];
  for (let i = 0; i < words.length; i++) words[i] = one | (Math.imul(i, 0x9e3779b1) & mask);
  for (let end = words.byteLength; end < plane.length; end *= 2) plane.copyWithin(end, 0, end);
}

/** As many different blocks as are moved, in no order. */
export function pickBlocks(): number[] {
  const blocks = [...Array(BLOCKS).keys()];
  for (let i = BLOCKS - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [blocks[i], blocks[j]] = [blocks[j]!, blocks[i]!];
  }
  return blocks.slice(0, MOVED);
}

export function threadCount(threads: number): string {
  return threads === 1 ? '1 thread' : `${threads} threads`;
}
