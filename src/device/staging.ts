/**
 * Staging buffers between the tiers: a fixed number each way, mapped ahead, handed out in turns.
 *
 * Invariant: a buffer is idle in its ring, or with the one who acquired it. While its bytes are lent, other
 * threads may be at them: it stays mapped, whatever else happens.
 */
import { BufferUsage, MAP_MODE_READ, MAP_MODE_WRITE } from './flags.js';
import { Ring } from './ring.js';

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

export class StagingRing extends Ring<Staging> {
  readonly bytes: number;
  readonly #all: readonly Staging[];

  constructor(device: GPUDevice, way: Way, bytes: number) {
    const usage =
      way === 'out'
        ? BufferUsage.MAP_READ | BufferUsage.COPY_DST
        : BufferUsage.MAP_WRITE | BufferUsage.COPY_SRC;
    const all = Array.from({ length: BUFFERS }, (_, i) => {
      const label = `pagedkv staging ${way} ${i}`;
      return new Staging(device.createBuffer({ label, size: bytes, usage }), way);
    });
    // Those that were given back first come first: they are the most likely to be mapped.
    super(all);
    this.bytes = bytes;
    this.#all = all;
    if (way === 'in') for (const staging of all) void staging.map().catch(() => undefined);
  }

  /** Those that are lent go once they have been given back. */
  destroy(): void {
    for (const staging of this.#all) staging.destroy();
  }
}
