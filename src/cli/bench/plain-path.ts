/**
 * The plain way between GPU and host memory: contiguous bytes in pieces through staging buffers as a cache has
 * them, each one copy on the GPU and one `memcpy` on the host, while the GPU works on the next ones. What moving
 * scattered blocks is held against.
 */
import { NativeMemory } from '../../device/memory.js';
import { StagingRing, type Staging } from '../../device/staging.js';
import { BufferUsage } from '../../device/flags.js';

/** Bytes `begin` to `end` of all. */
interface Piece {
  readonly begin: number;
  readonly end: number;
}

export class PlainPath {
  readonly #device: GPUDevice;
  readonly #pieces: readonly Piece[];
  readonly #buffer: GPUBuffer;
  readonly #memory: NativeMemory;
  readonly #host: Uint8Array<ArrayBuffer>;
  readonly #out: StagingRing;
  readonly #in: StagingRing;

  /** `bytes` in all; of each staging buffer, `stagingBytes`. */
  constructor(device: GPUDevice, bytes: number, stagingBytes: number) {
    this.#device = device;
    this.#pieces = Array.from({ length: Math.ceil(bytes / stagingBytes) }, (_, i) => ({
      begin: i * stagingBytes,
      end: Math.min(bytes, (i + 1) * stagingBytes),
    }));
    const usage = BufferUsage.COPY_SRC | BufferUsage.COPY_DST;
    this.#buffer = device.createBuffer({ label: 'plain path', size: bytes, usage });
    this.#memory = new NativeMemory(bytes, 'the plain path');
    this.#host = this.#memory.view(0, bytes);
    this.#out = new StagingRing(device, 'out', stagingBytes);
    this.#in = new StagingRing(device, 'in', stagingBytes);
  }

  async out(): Promise<void> {
    await this.#each(this.#out, (staging, piece) => this.#land(staging, piece));
  }

  /** Resolves when the bytes are on the GPU. */
  async in(): Promise<void> {
    await this.#each(this.#in, (staging, piece) => this.#send(staging, piece));
    await this.#device.queue.onSubmittedWorkDone();
  }

  destroy(): void {
    this.#memory.close();
    this.#out.destroy();
    this.#in.destroy();
    this.#buffer.destroy();
  }

  async #each(
    ring: StagingRing,
    move: (staging: Staging, piece: Piece) => Promise<void>,
  ): Promise<void> {
    const moves: Promise<void>[] = [];
    for (const piece of this.#pieces) {
      const staging = await ring.acquire();
      moves.push(
        move(staging, piece).finally(() => {
          ring.release(staging);
        }),
      );
    }
    await Promise.all(moves);
  }

  async #land(staging: Staging, { begin, end }: Piece): Promise<void> {
    this.#submit(this.#buffer, begin, staging.buffer, 0, end - begin);
    await this.#out.lend(staging, (bytes) => {
      this.#host.set(bytes.subarray(0, end - begin), begin);
    });
    staging.unmap();
  }

  async #send(staging: Staging, { begin, end }: Piece): Promise<void> {
    await this.#in.lend(staging, (bytes) => {
      bytes.set(this.#host.subarray(begin, end));
    });
    staging.unmap();
    this.#submit(staging.buffer, 0, this.#buffer, begin, end - begin);
  }

  #submit(from: GPUBuffer, at: number, to: GPUBuffer, offset: number, bytes: number): void {
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(from, at, to, offset, bytes);
    this.#device.queue.submit([encoder.finish()]);
  }
}
