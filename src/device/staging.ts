/**
 * Staging buffers between the tiers: a fixed number each way, mapped ahead, handed out in turns.
 *
 * Invariant: a buffer is idle in its ring, or with the one who acquired it. While its bytes are lent, other
 * threads may be at them: it stays mapped, whatever else happens.
 */
import { BufferUsage, MAP_MODE_READ, MAP_MODE_WRITE } from './flags.js';

/** `'out'`: the GPU writes, the host reads. `'in'`: the host writes, the GPU reads. */
export type Way = 'out' | 'in';

/**
 * Of each way. While one is copied by the host, the GPU works on the next; the others are on their way to be
 * mapped again, which takes until the event loop comes round.
 */
const BUFFERS = 4;

export class Staging {
  readonly buffer: GPUBuffer;
  readonly #mode: GPUMapModeFlags;
  #mapping: Promise<Uint8Array> | undefined;
  #isLent = false;
  #isDestroyed = false;

  constructor(buffer: GPUBuffer, way: Way) {
    this.buffer = buffer;
    this.#mode = way === 'out' ? MAP_MODE_READ : MAP_MODE_WRITE;
  }

  /** The bytes, once the GPU is done with them. Where that fails it may be tried again. */
  map(): Promise<Uint8Array> {
    if (this.#mapping !== undefined) return this.#mapping;
    const mapping = this.buffer
      .mapAsync(this.#mode)
      .then(() => new Uint8Array(this.buffer.getMappedRange()));
    mapping.catch(() => {
      if (this.#mapping === mapping) this.#mapping = undefined;
    });
    return (this.#mapping = mapping);
  }

  unmap(): void {
    if (this.#mapping === undefined) return;
    this.#mapping = undefined;
    this.buffer.unmap();
  }

  /** Requires that it is mapped. The bytes stay where they are until `copy` has settled. */
  async lend(copy: (bytes: Uint8Array) => Promise<void>): Promise<void> {
    const bytes = await this.map();
    this.#isLent = true;
    try {
      await copy(bytes);
    } finally {
      this.#isLent = false;
      if (this.#isDestroyed) this.buffer.destroy();
    }
  }

  destroy(): void {
    this.#isDestroyed = true;
    if (!this.#isLent) this.buffer.destroy();
  }
}

export class StagingRing {
  readonly bytes: number;
  readonly #all: readonly Staging[];
  /** Those that were given back first come first: they are the most likely to be mapped. */
  readonly #idle: Staging[];
  readonly #waiting: ((staging: Staging) => void)[] = [];

  constructor(device: GPUDevice, way: Way, bytes: number) {
    this.bytes = bytes;
    const usage =
      way === 'out'
        ? BufferUsage.MAP_READ | BufferUsage.COPY_DST
        : BufferUsage.MAP_WRITE | BufferUsage.COPY_SRC;
    this.#all = Array.from({ length: BUFFERS }, (_, i) => {
      const label = `pagedkv staging ${way} ${i}`;
      return new Staging(device.createBuffer({ label, size: bytes, usage }), way);
    });
    this.#idle = [...this.#all];
    if (way === 'in') for (const staging of this.#all) void staging.map().catch(() => undefined);
  }

  /** Whoever asks first is served first, so that a long transfer and a step take turns. */
  acquire(): Promise<Staging> {
    const staging = this.#idle.shift();
    if (staging !== undefined) return Promise.resolve(staging);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  release(staging: Staging): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(staging);
    else next(staging);
  }

  /** Those that are lent go once they have been given back. */
  destroy(): void {
    for (const staging of this.#all) staging.destroy();
  }
}
