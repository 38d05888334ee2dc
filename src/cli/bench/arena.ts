/** How fast native code gathers scattered blocks into the host arena, brings them back, and quantizes them. */
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
import { rateAgainst, timed, type Line } from './line.js';

/** Moved at once, and what they are picked from in each tier. */
const MOVED = 1000;
const BLOCKS = 4096;
const BLOCK_SIZE = 16;
/** No plane is smaller. */
const FILLED_WORDS = 2 ** 20;

type Shape = Pick<KvCacheManagerOptions, 'model' | 'groups'>;

/** One plane of 64 KiB a block. */
const PLANES = [{ layer: 0, name: 'latent', bytesPerToken: 4096 }];
const WHOLE = { groups: [{ name: 'all', kind: 'full', planes: PLANES }] } as const;
/** About 64 KiB a block over 28 layers: 56 planes of 1,152 bytes. */
const OVER_28_LAYERS = { model: { layers: 28, kvHeads: 1, headDim: 36, dtype: 'f16' } } as const;
/** Two planes of 32 KiB a block. */
const ONE_LAYER = {
  f32: { model: { layers: 1, kvHeads: 4, headDim: 128, dtype: 'f32' } },
  f16: { model: { layers: 1, kvHeads: 8, headDim: 128, dtype: 'f16' } },
} as const;

/** All lines, by 1 thread and by 2. Takes about 2 GiB at most. */
export async function measureArena(turns?: number): Promise<Line[]> {
  const lines: Line[] = [];
  for (const threads of [1, 2]) {
    lines.push(...(await measureCopies('64 KiB blocks', WHOLE, threads, turns)));
    const spread = '64 KiB blocks over 28 layers';
    lines.push(...(await measureCopies(spread, OVER_28_LAYERS, threads, turns)));
    for (const dtype of ['f32', 'f16'] as const) {
      lines.push(...(await measureInt8(dtype, threads, turns)));
    }
  }
  return lines;
}

/** Gathering and scattering, against plain copies of the same pieces by as many threads. */
export async function measureCopies(
  what: string,
  options: Shape,
  threads: number,
  turns?: number,
): Promise<Line[]> {
  using tiers = await Tiers.make(layoutOf(options), threads);
  return [true, false].map((store) => {
    const name = `${store ? 'gather' : 'scatter'} of ${MOVED} ${what}, ${count(threads)}`;
    const yardstick = [
      `memcpy of the same pieces, ${count(threads)}`,
      tiers.copier(store),
    ] as const;
    const line = rateAgainst(name, tiers.bytes, tiers.mover(store), yardstick, turns);
    tiers.checkMoved();
    return line;
  });
}

/** Quantizing and back, in bytes of the device's side, against plain copies of these bytes. */
export async function measureInt8(dtype: DType, threads: number, turns?: number): Promise<Line[]> {
  const layout = layoutOf(ONE_LAYER[dtype]);
  using quantized = await Tiers.make(layout, threads, 'int8');
  using plain = await Tiers.make(layout, threads);
  return [true, false].map((store) => {
    const name = `${dtype} ${store ? 'to' : 'from'} int8, ${count(threads)}`;
    const yardstick = `memcpy of the ${dtype} pieces, ${count(threads)}`;
    const run = quantized.mover(store);
    return rateAgainst(name, plain.bytes, run, [yardstick, plain.copier(store)], turns);
  });
}

/** Both tiers of a layout in native memory, touched and filled, and blocks to move between them. */
class Tiers implements Disposable {
  /** On the device's side, of one move. */
  readonly bytes: number;
  readonly #planes: PlaneMemory;
  readonly #arena: HostArena;
  readonly #threads: number;
  readonly #near = scattered();
  readonly #host = scattered();

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

function layoutOf(options: Shape): CacheLayout {
  using kv = new KvCacheManager({
    ...options,
    blockSize: BLOCK_SIZE,
    device: { blocks: BLOCKS },
    host: { blocks: BLOCKS },
  });
  return kv.layout;
}

/** Values of either sign, from 1 to 2, the same in each stretch of memory. */
function fill(plane: Uint8Array<ArrayBuffer>, dtype: DType): void {
  const words = new Uint32Array(plane.buffer, 0, FILLED_WORDS);
  const [one, mask] = dtype === 'f32' ? [0x3f800000, 0x807fffff] : [0x3c003c00, 0x83ff83ff];
  for (let i = 0; i < words.length; i++) words[i] = one | (Math.imul(i, 0x9e3779b1) & mask);
  for (let end = words.byteLength; end < plane.length; end *= 2) plane.copyWithin(end, 0, end);
}

/** So many different blocks, in no order. */
function scattered(): number[] {
  const blocks = [...Array(BLOCKS).keys()];
  for (let i = BLOCKS - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [blocks[i], blocks[j]] = [blocks[j]!, blocks[i]!];
  }
  return blocks.slice(0, MOVED);
}

function count(threads: number): string {
  return threads === 1 ? '1 thread' : `${threads} threads`;
}
