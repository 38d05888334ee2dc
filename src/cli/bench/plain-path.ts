/**
 * The plainest way between GPU and host memory: contiguous bytes in pieces through staging buffers as a cache
 * has them, each one copy on the GPU and one on the host. What moving scattered blocks is held against.
 */
import { HostArena } from '../../device/arena.js';
import { StagingRing, type Staging } from '../../device/staging.js';
import { BufferUsage } from '../../device/flags.js';
import { layoutOf, movesOf } from './blocks.js';

/** What copies a piece on the host: one `memcpy` of the JavaScript thread, or native threads as for a cache. */
export type HostCopy = 'memcpy' | 'native';

export class PlainPath {
  readonly #device: GPUDevice;
  readonly #bytes: number;
  readonly #piece: number;
  readonly #buffer: GPUBuffer;
  readonly #arena: HostArena;
  readonly #out: StagingRing;
  readonly #in: StagingRing;
  /** Of the arena: pieces are its blocks. */
  readonly #moves: Uint32Array;

  /** `bytes` in all, a multiple of `piece`. */
  constructor(device: GPUDevice, bytes: number, piece: number) {
    this.#device = device;
    this.#bytes = bytes;
    this.#piece = piece;
    const usage = BufferUsage.COPY_SRC | BufferUsage.COPY_DST;
    this.#buffer = device.createBuffer({ label: 'plain path', size: bytes, usage });
    const pieces = bytes / piece;
    const shape = { layers: 1, bytesPerToken: piece / 2, blockSize: 1 };
    this.#arena = new HostArena(layoutOf({ ...shape, deviceBlocks: 1, hostBlocks: pieces }).layout);
    const all = [...Array(pieces).keys()];
    this.#moves = movesOf(all, all);
    this.#out = new StagingRing(device, 'out', piece);
    this.#in = new StagingRing(device, 'in', piece);
  }

  async out(copy: HostCopy): Promise<void> {
    await this.#each(this.#out, (staging, i) => this.#land(staging, i, copy));
  }

  async in(copy: HostCopy): Promise<void> {
    await this.#each(this.#in, (staging, i) => this.#send(staging, i, copy));
    await this.#device.queue.onSubmittedWorkDone();
  }

  destroy(): void {
    this.#arena.destroy();
    this.#out.destroy();
    this.#in.destroy();
    this.#buffer.destroy();
  }

  async #each(
    ring: StagingRing,
    move: (staging: Staging, piece: number) => Promise<void>,
  ): Promise<void> {
    const moves: Promise<void>[] = [];
    for (let i = 0; i * this.#piece < this.#bytes; i++) {
      const staging = await ring.acquire();
      moves.push(move(staging, i).finally(() => ring.release(staging)));
    }
    await Promise.all(moves);
  }

  async #land(staging: Staging, i: number, copy: HostCopy): Promise<void> {
    const encoder = this.#device.createCommandEncoder();
    const from = i * this.#piece;
    encoder.copyBufferToBuffer(this.#buffer, from, staging.buffer, 0, this.#piece);
    this.#device.queue.submit([encoder.finish()]);
    await staging.lend(async (bytes) => {
      if (copy === 'memcpy') this.#arena.block(0, i).set(bytes);
      else await this.#arena.store(this.#moves, i, i + 1, bytes);
    });
    staging.unmap();
  }

  async #send(staging: Staging, i: number, copy: HostCopy): Promise<void> {
    await staging.lend(async (bytes) => {
      if (copy === 'memcpy') bytes.set(this.#arena.block(0, i));
      else await this.#arena.load(this.#moves, i, i + 1, bytes);
    });
    staging.unmap();
    const encoder = this.#device.createCommandEncoder();
    const to = i * this.#piece;
    encoder.copyBufferToBuffer(staging.buffer, 0, this.#buffer, to, this.#piece);
    this.#device.queue.submit([encoder.finish()]);
    void staging.map().catch(() => undefined);
  }
}
