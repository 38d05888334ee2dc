/// <reference types="@webgpu/types" />
/**
 * KV memory on a GPU through WebGPU, with a host tier in CPU memory. Executes a plan and keeps on the GPU the
 * tables that attention kernels read.
 */
import { PagedKvError } from '../errors.js';
import type { CacheLayout, Executable, Moves } from '../plan.js';
import { readBoolean, readChoice, readInteger, readOptions } from '../validate.js';
import { isSoftware } from './adapter.js';
import { HostArena } from './arena.js';
import { checkByteLength, copyMoves, type BlockCache } from './cache.js';
import { BufferUsage, MAP_MODE_READ } from './flags.js';
import { checkBlock, findPlane, groupAt, planeAt, type HasLayout, type Tier } from './layout.js';
import { compileMoves, KernelMover } from './move-kernels.js';
import { CopyMover, type BlockMover } from './moves.js';
import { Pool, type PoolPlane } from './pool.js';
import { UploadedTables, type StepTables } from './tables.js';
import { Transfers } from './transfers.js';

export { pickDevice, requestDevice, type DeviceRequest, type PickedDevice } from './adapter.js';
export { poisonBlocks, type BlockAccess, type BlockCache } from './cache.js';
export type { HasLayout, Tier } from './layout.js';
export type { ListOffsets, StepTables } from './tables.js';

export interface WebGpuCacheOptions {
  /**
   * How blocks move: compute kernels over a list of blocks, or a copy command for each plane of each block.
   * By default kernels on a GPU, and copies on a software adapter, where kernels are emulated.
   */
  readonly moves?: 'kernel' | 'copies';
  /** Bytes of each staging buffer between the tiers; at least one block is made room for. Default 32 MiB. */
  readonly stagingBytes?: number;
  /** Allocate several GPU buffers of about this size, where a driver does better so than with the largest. */
  readonly maxSlabBytes?: number;
  /** Touch all memory of the host tier ahead, in the background (default), or leave the cost to the first transfers. */
  readonly touchHostMemory?: boolean;
}

const NAMES = [
  'moves',
  'stagingBytes',
  'maxSlabBytes',
  'touchHostMemory',
] as const satisfies readonly (keyof WebGpuCacheOptions)[];
const DEFAULT_STAGING_BYTES = 32 * 2 ** 20;

interface Parts {
  readonly device: GPUDevice;
  readonly layout: CacheLayout;
  readonly pool: Pool;
  readonly arena: HostArena;
  readonly mover: BlockMover;
  readonly moves: 'kernel' | 'copies';
}

export class WebGpuCache implements BlockCache {
  readonly device: GPUDevice;
  readonly layout: CacheLayout;
  /** How blocks move on this device. */
  readonly moves: 'kernel' | 'copies';
  /** What attention kernels read: the tables of the step executed last. */
  readonly tables: StepTables;
  readonly #pool: Pool;
  readonly #arena: HostArena;
  readonly #mover: BlockMover;
  readonly #transfers: Transfers | undefined;
  readonly #tables: UploadedTables;
  /** The end of the execution that was asked for last. */
  #tail = Promise.resolve();
  #lost: GPUDeviceLostInfo | undefined;
  #destroyed = false;

  /**
   * Allocates the memory that the layout of `kv` describes. Rejects with `INVALID_OPTION` or
   * `UNKNOWN_OPTION`, with `PLANE_TOO_LARGE` where a plane exceeds what the device can bind, with
   * `PLANE_ALIGNMENT` where a token's bytes in a plane are not a multiple of 4, and with
   * `OUT_OF_DEVICE_MEMORY` or `OUT_OF_MEMORY` where a tier does not fit.
   */
  static async create(
    device: GPUDevice,
    kv: HasLayout,
    options: WebGpuCacheOptions = {},
  ): Promise<WebGpuCache> {
    const { layout } = kv;
    const { moves, stagingBytes, maxSlabBytes, touchHostMemory } = readCacheOptions(
      device,
      options,
    );
    const kernels = moves === 'kernel' ? await compileMoves(device) : undefined;
    return allocating(device, (keep) => {
      const arena = keep(new HostArena(layout));
      // A machine that runs out meanwhile shows it to the transfers.
      if (touchHostMemory) void arena.touch().catch(() => undefined);
      const pool = keep(new Pool(device, layout, maxSlabBytes));
      const bytes = packedBytes(pool, stagingBytes);
      const mover = keep(
        kernels ? new KernelMover(pool, bytes, kernels) : new CopyMover(pool, bytes),
      );
      return keep(new WebGpuCache({ device, layout, pool, arena, mover, moves }));
    });
  }

  private constructor(parts: Parts) {
    this.device = parts.device;
    this.layout = parts.layout;
    this.moves = parts.moves;
    this.#tables = new UploadedTables(parts.device, parts.layout);
    this.tables = this.#tables;
    this.#pool = parts.pool;
    this.#arena = parts.arena;
    this.#mover = parts.mover;
    const hasHostTier = parts.layout.groups.some((group) => group.hostBlocks > 0);
    if (hasHostTier) this.#transfers = new Transfers(parts.pool, parts.arena, parts.mover);
    void parts.device.lost.then((info) => {
      this.#lost = info;
    });
  }

  /**
   * Executes the moves of a step or transfer and uploads its tables. Resolves once the pass may be submitted
   * and offloaded bytes are safe in the host tier; calls that overlap run one after the other, in their order.
   *
   * On failure the work ends as failed, and the promise rejects: with `DEVICE_LOST` where the device is
   * gone, else with what went wrong.
   */
  execute(work: Executable): Promise<void> {
    const run = (): Promise<void> => this.#executeAlone(work);
    this.#tail = this.#tail.then(run, run);
    return this.#tail;
  }

  /** The keys of a layer, `[deviceBlocks, blockSize, kvHeads, headDim]`, to bind as storage. */
  key(layer: number): Required<GPUBufferBinding> {
    return this.plane(layer, 'key');
  }

  /** The values of a layer, shaped as its keys. */
  value(layer: number): Required<GPUBufferBinding> {
    return this.plane(layer, 'value');
  }

  /** Any plane of a layer by name; block `b` begins `b * blockSize * bytesPerToken` bytes into it. */
  plane(layer: number, name: string): Required<GPUBufferBinding> {
    const { group, plane } = findPlane(this.layout, layer, name);
    const found = this.#poolPlane(group, plane);
    return { buffer: this.#pool.slabOf(found), offset: found.offset, size: found.size };
  }

  async readBlock(
    group: number,
    plane: number,
    block: number,
    tier: Tier = 'device',
  ): Promise<Uint8Array<ArrayBuffer>> {
    this.#checkUsable();
    const found = this.#poolPlane(group, plane);
    checkBlock(groupAt(this.layout, group), tier, block);
    if (tier === 'host') return this.#hostBlock(group, found, block).slice();
    return this.#download(found, block);
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- errors become rejections
  async writeBlock(
    group: number,
    plane: number,
    block: number,
    bytes: Uint8Array,
    tier: Tier = 'device',
  ): Promise<void> {
    this.#checkUsable();
    const found = this.#poolPlane(group, plane);
    checkBlock(groupAt(this.layout, group), tier, block);
    checkByteLength(bytes, found.blockBytes);
    if (tier === 'host') {
      this.#hostBlock(group, found, block).set(bytes);
      return;
    }
    const offset = found.offset + block * found.blockBytes;
    const source = bytes as Uint8Array<ArrayBuffer>;
    this.device.queue.writeBuffer(this.#pool.slabOf(found), offset, source);
  }

  /** Frees the buffers; the device is the caller's and stays. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    // First: native code may be reading what is mapped.
    this.#arena.destroy();
    this.#transfers?.destroy();
    this.#mover.destroy();
    this.#tables.destroy();
    this.#pool.destroy();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  async #executeAlone(work: Executable): Promise<void> {
    this.#checkUsable();
    work.beginExecute();
    try {
      await this.#move(work.moves);
      if (work.attention !== undefined) this.#tables.upload(work.attention);
      this.#checkUsable();
    } catch (error) {
      work.endExecute(false);
      throw await this.#explain(error);
    }
    work.endExecute(true);
  }

  /** A lost device makes whatever was under way fail in its own way; the loss is what to tell. */
  async #explain(error: unknown): Promise<unknown> {
    // The loss is reported by an event of its own, in the same turn or the next.
    await new Promise((resume) => setTimeout(resume, 0));
    return this.#lost === undefined ? error : lossOf(this.#lost, error);
  }

  /** Waits only where there is something to offload: the host tier must hold it before onboards read it. */
  async #move(moves: Moves): Promise<void> {
    if (moves.offloads.length > 0) {
      // A step that ends while this waits leaves its memory to the next one.
      moves = copyMoves(moves);
      await this.#hostTransfers().offload(moves.offloads);
    }
    if (moves.onboards.length > 0) this.#hostTransfers().onboard(moves.onboards);
    if (moves.copies.length > 0) this.#mover.copyWithin(moves.copies);
  }

  #hostTransfers(): Transfers {
    if (this.#transfers !== undefined) return this.#transfers;
    throw new PagedKvError('OUT_OF_RANGE', 'the layout has no host tier to transfer with');
  }

  #checkUsable(): void {
    if (this.#destroyed) throw new PagedKvError('CACHE_DESTROYED', 'the cache was destroyed');
    if (this.#lost !== undefined) throw lossOf(this.#lost);
  }

  #poolPlane(group: number, plane: number): PoolPlane {
    planeAt(this.layout, group, plane);
    return this.#pool.groups[group]!.planes[plane]!;
  }

  #hostBlock(group: number, plane: PoolPlane, block: number): Uint8Array<ArrayBuffer> {
    const record = this.#arena.block(group, block);
    return record.subarray(plane.packedOffset, plane.packedOffset + plane.blockBytes);
  }

  async #download(plane: PoolPlane, block: number): Promise<Uint8Array<ArrayBuffer>> {
    const { blockBytes } = plane;
    const usage = BufferUsage.MAP_READ | BufferUsage.COPY_DST;
    const staging = this.device.createBuffer({ size: blockBytes, usage });
    try {
      const encoder = this.device.createCommandEncoder();
      const offset = plane.offset + block * blockBytes;
      encoder.copyBufferToBuffer(this.#pool.slabOf(plane), offset, staging, 0, blockBytes);
      this.device.queue.submit([encoder.finish()]);
      await staging.mapAsync(MAP_MODE_READ);
      return new Uint8Array(staging.getMappedRange().slice(0));
    } finally {
      staging.destroy();
    }
  }
}

function lossOf({ reason, message }: GPUDeviceLostInfo, cause?: unknown): PagedKvError {
  const text = `the GPU device was lost (${reason}): ${message}`;
  return new PagedKvError('DEVICE_LOST', text, { cause });
}

/** With the defaults; refuses with `INVALID_OPTION` or `UNKNOWN_OPTION`. */
function readCacheOptions(device: GPUDevice, options: unknown): Required<WebGpuCacheOptions> {
  const given = readOptions('the cache', options, NAMES);
  const moves = isSoftware(device.adapterInfo) ? 'copies' : 'kernel';
  const bytes = (name: 'stagingBytes' | 'maxSlabBytes', otherwise: number): number =>
    readInteger(name, given[name], 1, Number.MAX_SAFE_INTEGER, otherwise);
  return {
    moves: readChoice('moves', given.moves, ['kernel', 'copies'], moves),
    stagingBytes: bytes('stagingBytes', DEFAULT_STAGING_BYTES),
    maxSlabBytes: bytes('maxSlabBytes', Infinity),
    touchHostMemory: readBoolean('touchHostMemory', given.touchHostMemory, true),
  };
}

interface Destroyable {
  destroy(): void;
}

/**
 * Runs what allocates on a device, and gives its result once the device has had the memory; on failure all
 * that `allocate` told to `keep` is destroyed. Between pushing and popping nothing is awaited, so that the
 * errors are of `allocate` and of nobody else.
 */
async function allocating<T>(
  device: GPUDevice,
  allocate: (keep: <Made extends Destroyable>(made: Made) => Made) => T,
): Promise<T> {
  const kept: Destroyable[] = [];
  device.pushErrorScope('validation');
  device.pushErrorScope('out-of-memory');
  const making = new Promise<T>((resolve) => {
    resolve(
      allocate((made) => {
        kept.push(made);
        return made;
      }),
    );
  });
  const errors = Promise.all([device.popErrorScope(), device.popErrorScope()]);
  try {
    const made = await making.finally(() => errors);
    const cause = (await errors).find((error) => error !== null);
    if (cause === undefined) return made;
    const text = `the GPU device has no room for the KV memory: ${cause.message}`;
    throw new PagedKvError('OUT_OF_DEVICE_MEMORY', text, { cause });
  } catch (error) {
    for (const made of kept.reverse()) made.destroy();
    throw error;
  }
}

/** Room for one block of any group at least, and for no more than a host tier could ever send. */
function packedBytes(pool: Pool, wanted: number): number {
  const { groups } = pool.layout;
  const largest = Math.max(...pool.groups.map((group) => group.blockBytes));
  const { maxBufferSize, maxStorageBufferBindingSize } = pool.device.limits;
  const capacity = Math.min(maxBufferSize, maxStorageBufferBindingSize);
  if (largest > capacity) {
    throw new PagedKvError(
      'PLANE_TOO_LARGE',
      `a block takes ${largest} bytes over all planes, and this GPU device binds ${capacity} at most: use a smaller blockSize`,
    );
  }
  const useful = Math.max(...pool.groups.map((each, g) => each.blockBytes * groups[g]!.hostBlocks));
  return Math.min(capacity, Math.max(largest, Math.min(wanted, useful)));
}
