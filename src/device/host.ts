/**
 * KV memory in host memory: one `ArrayBuffer` a plane. For engines that attend on the CPU, and the simplest
 * device there is: what the others do is checked against it. The host tier is an arena beside it.
 */
import { PagedKvError } from '../errors.js';
import type { CacheLayout, Executable, Execution, Moves } from '../plan.js';
import { readInteger, readOptions } from '../validate.js';
import { COPY_WORDS, MOVE_WORDS } from '../words.js';
import { HostArena } from './arena.js';
import { checkByteLength, type BlockCache } from './cache.js';
import { Executor } from './executor.js';
import { HostTransfers } from './host-transfers.js';
import { readIntercept, type Intercept } from './intercept.js';
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
import { Stages } from './stages.js';
import type { Way } from './transfer-clock.js';

export { poisonBlocks, type BlockAccess, type BlockCache } from './cache.js';
export type { Intercept, TransferPiece } from './intercept.js';
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
  /**
   * Bytes between the tiers that a step or transfer moves at once, on the caller's thread, where nothing else is
   * under way: sooner than other threads are told of them. Default 256 KiB.
   */
  readonly bytesAtOnce?: number;
  /**
   * Bytes that other threads are given at a time, at least one block: what is cancelled ends with those that it
   * has given. Default 8 MiB.
   */
  readonly pieceBytes?: number;
  /**
   * Called, and awaited, before each piece of a transfer is moved; where it throws, the transfer fails. For tests,
   * which so delay, reorder and fail transfers. With it, nothing moves between the tiers at once.
   */
  readonly intercept?: Intercept;
}

const NAMES = [
  'quantize',
  'bytesAtOnce',
  'pieceBytes',
  'intercept',
] as const satisfies readonly (keyof HostCacheOptions)[];

const BYTES_AT_ONCE = 256 * 1024;
const PIECE_BYTES = 8 * 2 ** 20;

export class HostCache implements BlockCache {
  readonly layout: CacheLayout;
  readonly quantize: Quantization | undefined;
  readonly #device: PlaneMemory;
  readonly #arena: HostArena;
  readonly #transfers: HostTransfers;
  readonly #executor: Executor;
  /** Bytes of a block. */
  readonly #largestBlock: number;
  #destroyed = false;

  /**
   * Allocates both tiers, zeroed. Throws `OUT_OF_MEMORY`, before it allocates, where the machine has no room for
   * one; `INVALID_OPTION` or `UNKNOWN_OPTION`; `NO_MODEL` where planes of unknown elements are to be quantized.
   */
  constructor(kv: HasLayout, options: HostCacheOptions = {}) {
    const { layout } = kv;
    const settings = readSettings(options);
    this.layout = layout;
    this.quantize = settings.quantize;
    this.#device = new PlaneMemory(layout);
    this.#arena = new HostArena(layout, { quantize: settings.quantize });
    const { pieceBytes, intercept } = settings;
    this.#transfers = new HostTransfers(this.#device, this.#arena, pieceBytes, intercept);
    this.#largestBlock = Math.max(...layout.groups.map((group) => blockBytes(layout, group)));
    const records = layout.groups.map((_, group) => this.#arena.record(group));
    const bytesAtOnce = intercept === undefined ? settings.bytesAtOnce : 0;
    this.#executor = new Executor({
      layout,
      stages: new Stages(layout, records),
      mover: {
        arrange: (moves) => moves.slice(),
        copyWithin: (copies) => {
          this.#copy(copies);
        },
      },
      transfers: this.#transfers,
      atOnce: {
        fits: (moves) => this.#bytesOf(moves) <= bytesAtOnce,
        move: (moves, lap) => {
          this.#moveAtOnce(moves, lap);
        },
      },
      checkUsable: () => {
        this.#checkUsable();
      },
      explain: (error) => Promise.resolve(error),
    });
  }

  /**
   * Executes the moves of a step or transfer. Few bytes are moved before it returns, more by other threads, beside
   * the engine's pass, which may begin once the execution's `submitted` resolves; the promise itself resolves when
   * the work has ended. Steps are executed in the order of the calls; a swap-out waits for nobody.
   *
   * On failure the work ends as failed, and the promise rejects: with `EXECUTION_CANCELLED`, `CACHE_DESTROYED`,
   * else with what went wrong.
   */
  execute(work: Executable): Execution {
    return this.#executor.execute(work);
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
    this.#executor.stop(destroyedError());
    this.#arena.destroy();
    this.#device.memory.close();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  #checkUsable(): void {
    if (this.#destroyed) throw destroyedError();
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

  #moveAtOnce({ offloads, onboards, copies }: Moves, lap: (way: Way) => void): void {
    this.#transfers.moveAtOnce('offload', offloads);
    if (offloads.length > 0) lap('offload');
    this.#transfers.moveAtOnce('onboard', onboards);
    if (onboards.length > 0) lap('onboard');
    this.#copy(copies);
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

type HostSettings = Pick<HostCacheOptions, 'quantize' | 'intercept'> &
  Required<Pick<HostCacheOptions, 'bytesAtOnce' | 'pieceBytes'>>;

/** With the defaults; refuses with `INVALID_OPTION` or `UNKNOWN_OPTION`. */
function readSettings(options: unknown): HostSettings {
  const given = readOptions('the cache', options, NAMES);
  const quantize = readQuantization(given.quantize);
  const most = Number.MAX_SAFE_INTEGER;
  return {
    bytesAtOnce: readInteger('bytesAtOnce', given.bytesAtOnce, 0, most, BYTES_AT_ONCE),
    pieceBytes: readInteger('pieceBytes', given.pieceBytes, 1, most, PIECE_BYTES),
    ...(quantize === undefined ? {} : { quantize }),
    ...readIntercept(given.intercept),
  };
}

function destroyedError(): PagedKvError {
  return new PagedKvError('CACHE_DESTROYED', 'the cache was destroyed');
}

function settle<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(work());
  });
}
