/// <reference types="@webgpu/types" />
/**
 * KV memory on a GPU through WebGPU, with a host tier in CPU memory. Executes a plan and keeps on the GPU the
 * tables that attention kernels read.
 */
import { PagedKvError } from '../errors.js';
import type { CacheLayout, Executable, Execution } from '../plan.js';
import { allocating } from './allocating.js';
import { HostArena } from './arena.js';
import { beforeDestroy } from './before-destroy.js';
import { checkByteLength, type BlockCache } from './cache.js';
import { Executor } from './executor.js';
import { fasterMoves, type MoveKind } from './faster-moves.js';
import { BufferUsage, MAP_MODE_READ } from './flags.js';
import type { Intercept } from './intercept.js';
import { checkBlock, findPlane, groupAt, planeAt, type HasLayout, type Tier } from './layout.js';
import { compileMoves, KernelMover } from './move-kernels.js';
import { CopyMover, type BlockMover } from './moves.js';
import { Pool, type PoolPlane } from './pool.js';
import type { Quantization } from './quantized.js';
import { Stages } from './stages.js';
import { UploadedTables, type StepTables } from './tables.js';
import { Transfers } from './transfers.js';
import { readCacheOptions, type WebGpuCacheOptions } from './webgpu-options.js';

export { pickDevice, requestDevice, type DeviceRequest, type PickedDevice } from './adapter.js';
export { poisonBlocks, type BlockAccess, type BlockCache } from './cache.js';
export type { MoveKind } from './faster-moves.js';
export type { Intercept, TransferPiece } from './intercept.js';
export type { HasLayout, Tier } from './layout.js';
export type { Quantization } from './quantized.js';
export type { ListOffsets, StepTables } from './tables.js';
export type { WebGpuCacheOptions } from './webgpu-options.js';

interface Parts {
  readonly device: GPUDevice;
  readonly layout: CacheLayout;
  readonly pool: Pool;
  readonly arena: HostArena;
  readonly mover: BlockMover;
  readonly moves: MoveKind;
  readonly stagingBytes: number;
  readonly intercept: Intercept | undefined;
}

export class WebGpuCache implements BlockCache {
  readonly device: GPUDevice;
  readonly layout: CacheLayout;
  /** How blocks move on this device. */
  readonly moves: MoveKind;
  /** How the host tier keeps blocks; undefined: as they are. */
  readonly quantize: Quantization | undefined;
  /** Of each staging buffer: what moves between the tiers at once. */
  readonly stagingBytes: number;
  /** What attention kernels read: the tables of the step executed last. */
  readonly tables: StepTables;
  readonly #pool: Pool;
  readonly #arena: HostArena;
  readonly #mover: BlockMover;
  readonly #transfers: Transfers | undefined;
  readonly #tables: UploadedTables;
  readonly #executor: Executor;
  readonly #unguard: () => void;
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
    const settings = readCacheOptions(options);
    const { maxSlabBytes, quantize, intercept } = settings;
    const moves = settings.moves ?? (await fasterMoves(device, layout));
    const kernels = moves === 'kernel' ? await compileMoves(device, layout, quantize) : undefined;
    return allocating(device, (keep) => {
      const arena = keep(new HostArena(layout, { quantize }));
      // A machine that runs out meanwhile shows it to the transfers.
      if (settings.touchHostMemory) void arena.touch().catch(() => undefined);
      const pool = keep(new Pool(device, layout, maxSlabBytes, quantize));
      const stagingBytes = pieceBytes(pool, settings.stagingBytes);
      const mover = keep(
        kernels ? new KernelMover(pool, stagingBytes, kernels) : new CopyMover(pool, stagingBytes),
      );
      const parts = { device, layout, pool, arena, mover, moves, stagingBytes, intercept };
      return keep(new WebGpuCache(parts));
    });
  }

  private constructor(parts: Parts) {
    this.device = parts.device;
    this.layout = parts.layout;
    this.moves = parts.moves;
    this.stagingBytes = parts.stagingBytes;
    this.quantize = parts.arena.quantize;
    this.#tables = new UploadedTables(parts.device, parts.layout);
    this.tables = this.#tables;
    this.#pool = parts.pool;
    this.#arena = parts.arena;
    this.#mover = parts.mover;
    const hasHostTier = parts.layout.groups.some((group) => group.hostBlocks > 0);
    const { pool, arena, mover, stagingBytes, intercept } = parts;
    if (hasHostTier) {
      this.#transfers = new Transfers(pool, arena, mover, stagingBytes, intercept);
    }
    this.#executor = new Executor({
      layout: parts.layout,
      stages: new Stages(
        parts.layout,
        pool.groups.map((group) => group.record),
      ),
      mover,
      transfers: this.#transfers,
      tables: this.#tables,
      checkUsable: () => {
        this.#checkUsable();
      },
      explain: (error) => this.#explain(error),
    });
    this.#unguard = beforeDestroy(parts.device, () => this.#arena.drain());
    void parts.device.lost.then((info) => {
      this.#lost = info;
      this.#executor.stop(lossOf(info));
    });
  }

  /**
   * Executes the moves of a step or transfer and uploads its tables. Its pass may be submitted once the
   * execution's `submitted` resolves; the promise itself resolves when the work has ended, with offloaded
   * bytes safe in the host tier. Steps submit in the order of the calls, whatever else is under way.
   *
   * On failure the work ends as failed, and the promise rejects: with `DEVICE_LOST` where the device is
   * gone, `EXECUTION_CANCELLED`, `CACHE_DESTROYED`, else with what went wrong.
   */
  execute(work: Executable): Execution {
    return this.#executor.execute(work);
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
    if (tier === 'device') return this.#download(found, block);
    const bytes = new Uint8Array(found.blockBytes);
    this.#arena.movePlane(false, group, plane, block, bytes);
    return bytes;
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
      this.#arena.movePlane(true, group, plane, block, bytes);
      return;
    }
    const offset = found.offset + block * found.blockBytes;
    const source = bytes as Uint8Array<ArrayBuffer>;
    this.device.queue.writeBuffer(this.#pool.slabOf(found), offset, source);
  }

  /** Frees the buffers, and ends what is under way as failed; the device is the caller's and stays. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#executor.stop(destroyedError());
    // First: native code may be reading what is mapped.
    this.#arena.destroy();
    this.#unguard();
    this.#transfers?.destroy();
    this.#mover.destroy();
    this.#tables.destroy();
    this.#pool.destroy();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  /** A lost device makes whatever was under way fail in its own way; the loss is what to tell. */
  async #explain(error: unknown): Promise<unknown> {
    // The loss is reported by an event of its own, in the same turn or the next.
    await new Promise((resume) => setTimeout(resume, 0));
    return this.#lost === undefined ? error : lossOf(this.#lost, error);
  }

  #checkUsable(): void {
    if (this.#destroyed) throw destroyedError();
    if (this.#lost !== undefined) throw lossOf(this.#lost);
  }

  #poolPlane(group: number, plane: number): PoolPlane {
    planeAt(this.layout, group, plane);
    return this.#pool.groups[group]!.planes[plane]!;
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

function destroyedError(): PagedKvError {
  return new PagedKvError('CACHE_DESTROYED', 'the cache was destroyed');
}

/** Room for one block of any group at least, and for no more than a host tier could ever send. */
function pieceBytes(pool: Pool, wanted: number): number {
  const { groups } = pool.layout;
  const largest = Math.max(...pool.groups.map(({ record }) => record.bytes));
  const { maxBufferSize, maxStorageBufferBindingSize } = pool.device.limits;
  const capacity = Math.min(maxBufferSize, maxStorageBufferBindingSize);
  if (largest > capacity) {
    throw new PagedKvError(
      'PLANE_TOO_LARGE',
      `a block takes ${largest} bytes over all planes, and this GPU device binds ${capacity} at most: use a smaller blockSize`,
    );
  }
  const useful = Math.max(
    ...pool.groups.map(({ record }, g) => record.bytes * groups[g]!.hostBlocks),
  );
  return Math.min(capacity, Math.max(largest, Math.min(wanted, useful)));
}
