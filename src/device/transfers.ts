/**
 * Blocks between the device tier and the host tier, in pieces as large as the staging buffers. Offloads are
 * pipelined: while one staging buffer is read by the host, the GPU fills the next.
 *
 * Invariant: a staging buffer is unmapped and unused, or its `busy` promise is still to settle.
 */
import { MOVE_WORDS } from '../words.js';
import type { HostArena } from './arena.js';
import { BufferUsage, MAP_MODE_READ } from './flags.js';
import type { BlockMover } from './moves.js';
import type { Pool, PoolGroup } from './pool.js';
import { endOfGroup, readRisingRun, type Run } from './runs.js';

/** Two let the host read one piece while the GPU writes the other. */
const STAGING_BUFFERS = 2;

interface Staging {
  readonly buffer: GPUBuffer;
  busy: Promise<void> | undefined;
}

export class Transfers {
  readonly #pool: Pool;
  readonly #arena: HostArena;
  readonly #mover: BlockMover;
  readonly #ring: readonly Staging[];
  #next = 0;
  readonly #run: Run = { group: 0, source: 0, target: 0, blocks: 0 };

  constructor(pool: Pool, arena: HostArena, mover: BlockMover) {
    this.#pool = pool;
    this.#arena = arena;
    this.#mover = mover;
    this.#ring = Array.from({ length: STAGING_BUFFERS }, (_, i) => ({
      buffer: pool.device.createBuffer({
        label: `pagedkv staging ${i}`,
        size: mover.packed.size,
        usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST,
      }),
      busy: undefined,
    }));
  }

  /** Device → host. Resolves when the bytes are in the arena; rejects when any of them could not be read. */
  async offload(moves: Uint32Array): Promise<void> {
    const end = moves.length / MOVE_WORDS;
    try {
      for (let first = 0; first < end;) {
        const staging = await this.#acquire();
        const next = this.#pieceEnd(moves, first, end);
        this.#mover.gather(moves, first, next, staging.buffer);
        staging.busy = this.#land(moves, first, next, staging.buffer);
        // Awaited below; until then a rejection must not count as unhandled.
        staging.busy.catch(() => undefined);
        first = next;
      }
    } finally {
      // Also after a failure: no piece may still be landing when the work is declared over.
      await this.#drain();
    }
  }

  /** Host → device. The bytes have left the arena when it returns, and precede whatever is submitted next. */
  onboard(moves: Uint32Array): void {
    const end = moves.length / MOVE_WORDS;
    for (let first = 0; first < end;) {
      const next = this.#pieceEnd(moves, first, end);
      this.#upload(moves, first, next);
      this.#mover.scatter(moves, first, next);
      first = next;
    }
  }

  destroy(): void {
    for (const { buffer } of this.#ring) buffer.destroy();
  }

  async #acquire(): Promise<Staging> {
    const staging = this.#ring[this.#next]!;
    this.#next = (this.#next + 1) % this.#ring.length;
    await staging.busy;
    staging.busy = undefined;
    return staging;
  }

  async #drain(): Promise<void> {
    const results = await Promise.allSettled(this.#ring.map(async (staging) => staging.busy));
    for (const staging of this.#ring) staging.busy = undefined;
    for (const result of results) {
      if (result.status === 'rejected') throw result.reason;
    }
  }

  /** Where the piece that begins at record `first` ends: one group, and no more than the buffers hold. */
  #pieceEnd(moves: Uint32Array, first: number, end: number): number {
    const group = moves[first * MOVE_WORDS]!;
    const fit = Math.floor(this.#mover.packed.size / this.#pool.groups[group]!.blockBytes);
    const limit = Math.min(end, first + Math.min(fit, this.#mover.maxRecords));
    return endOfGroup(moves, first, limit);
  }

  async #land(moves: Uint32Array, first: number, end: number, buffer: GPUBuffer): Promise<void> {
    const size = (end - first) * this.#groupOf(moves, first).blockBytes;
    await buffer.mapAsync(MAP_MODE_READ, 0, size);
    try {
      await this.#arena.store(moves, first, end, new Uint8Array(buffer.getMappedRange(0, size)));
    } finally {
      buffer.unmap();
    }
  }

  #upload(moves: Uint32Array, first: number, end: number): void {
    const { blockBytes } = this.#groupOf(moves, first);
    const { queue } = this.#pool.device;
    const run = this.#run;
    for (let i = first; i < end;) {
      const offset = (i - first) * blockBytes;
      i = readRisingRun(moves, i, end, run);
      this.#arena.upload(queue, run.group, run.source, run.blocks, this.#mover.packed, offset);
    }
  }

  #groupOf(moves: Uint32Array, index: number): PoolGroup {
    return this.#pool.groups[moves[index * MOVE_WORDS]!]!;
  }
}
