/**
 * Staging buffers between the tiers: a fixed number each way, handed out in turns.
 *
 * Invariant: a buffer is idle in its ring, or with the one who acquired it. While its bytes are lent, other
 * threads may be at them: it stays mapped, whatever else happens.
 *
 * To be mapped, a buffer has to wait for the GPU, and while anything waits for the GPU, WebGPU for Node asks it
 * in every turn of an event loop that never rests: on few cores that takes time from those who copy, and makes
 * garbage. So a buffer is mapped when it is its turn to be copied, and the GPU is ahead meanwhile.
 */
import { deferred, type Deferred } from './deferred.js';
import { BufferUsage, MAP_MODE_READ, MAP_MODE_WRITE } from './flags.js';
import { Ring } from './ring.js';

/** `'out'`: the GPU writes, the host reads. `'in'`: the host writes, the GPU reads. */
export type Way = 'out' | 'in';

/** Of each way. While one is copied by the host, the GPU works on the next ones, and need not wait for the host. */
const BUFFERS = 4;

export class Staging {
  readonly buffer: GPUBuffer;
  readonly #mode: GPUMapModeFlags;
  #mapping: Promise<void> | undefined;
  /** As they are lent, and not before: by the bytes that arrays show, collections of garbage are paced. */
  #bytes: Uint8Array | undefined;
  #isLent = false;
  #isDestroyed = false;

  constructor(buffer: GPUBuffer, way: Way) {
    this.buffer = buffer;
    this.#mode = way === 'out' ? MAP_MODE_READ : MAP_MODE_WRITE;
  }

  /** Once the GPU is done with it. Where that fails it may be tried again. */
  map(): Promise<void> {
    if (this.#mapping !== undefined) return this.#mapping;
    if (this.#isDestroyed) return Promise.reject(new Error('the staging buffer was destroyed'));
    const mapping = this.buffer.mapAsync(this.#mode).then(() => undefined);
    mapping.catch(() => {
      if (this.#mapping === mapping) this.#mapping = undefined;
    });
    return (this.#mapping = mapping);
  }

  unmap(): void {
    if (this.#mapping === undefined) return;
    this.#mapping = undefined;
    this.#bytes = undefined;
    this.buffer.unmap();
  }

  /** Maps it. The bytes stay where they are until `copy` has settled. */
  async lend(copy: (bytes: Uint8Array) => void | Promise<void>): Promise<void> {
    await this.map();
    this.#bytes ??= new Uint8Array(this.buffer.getMappedRange());
    this.#isLent = true;
    try {
      await copy(this.#bytes);
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

/** Of those whose bytes are lent one after another. */
interface Turn {
  readonly begun: Deferred;
  readonly ended: Deferred;
  next?: Turn;
}

export class StagingRing extends Ring<Staging> {
  readonly bytes: number;
  readonly #way: Way;
  readonly #all: readonly Staging[];
  #lastTurn: Turn = { begun: deferred(), ended: deferred() };

  constructor(device: GPUDevice, way: Way, bytes: number) {
    const usage =
      way === 'out'
        ? BufferUsage.MAP_READ | BufferUsage.COPY_DST
        : BufferUsage.MAP_WRITE | BufferUsage.COPY_SRC;
    const all = Array.from({ length: BUFFERS }, (_, i) => {
      const label = `pagedkv staging ${way} ${i}`;
      return new Staging(device.createBuffer({ label, size: bytes, usage }), way);
    });
    // Those that were given back first come first: the GPU is the most likely to be done with them.
    super(all);
    this.bytes = bytes;
    this.#way = way;
    this.#all = all;
    this.#lastTurn.ended.resolve();
    this.#mapAhead();
  }

  /**
   * As the buffer does, one after another in the order of the calls. Returns when the next one has begun, too,
   * where the GPU is done with it: it is not to wait while the caller encodes.
   */
  async lend(staging: Staging, copy: (bytes: Uint8Array) => void | Promise<void>): Promise<void> {
    const before = this.#lastTurn;
    const turn: Turn = { begun: deferred(), ended: deferred() };
    this.#lastTurn = before.next = turn;
    try {
      await before.ended.promise;
      await staging.lend((bytes) => {
        const copied = copy(bytes);
        turn.begun.resolve();
        return copied;
      });
    } finally {
      turn.begun.resolve();
      turn.ended.resolve();
    }
    if (turn.next !== undefined) await Promise.race([turn.next.begun.promise, turnOfEvents()]);
  }

  override release(staging: Staging): void {
    super.release(staging);
    if (this.isWhole) this.#mapAhead();
  }

  /** What the host writes, for whoever comes next, who finds out whether it worked. */
  #mapAhead(): void {
    if (this.#way === 'out') return;
    for (const staging of this.#all) void staging.map().catch(() => undefined);
  }

  /** Those that are lent go once they have been given back. */
  destroy(): void {
    for (const staging of this.#all) staging.destroy();
  }
}

/** Until the event loop has come round: what others wait for has been told. */
export function turnOfEvents(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
