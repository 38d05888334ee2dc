/**
 * The host tier of a GPU cache. A block's planes lie together, one record a block, so that a block comes
 * and goes as one piece and adjacent blocks as one larger piece.
 */
import { PagedKvError } from '../errors.js';
import type { CacheLayout, GroupLayout } from '../plan.js';
import { blockBytes } from './layout.js';

/** A typed array addresses at most 4 GiB in the oldest Node supported, so large tiers are several arrays. */
const SLAB_BYTES = 2 ** 30;

/** Memory is touched in slices this long between turns of the event loop: about 50 ms each. */
const TOUCH_BYTES = 64 * 2 ** 20;

class GroupArena {
  readonly blockBytes: number;
  readonly #blocksPerSlab: number;
  readonly slabs: readonly Uint8Array<ArrayBuffer>[];

  constructor(layout: CacheLayout, group: GroupLayout, slabBytes: number) {
    this.blockBytes = blockBytes(layout, group);
    this.#blocksPerSlab = Math.max(1, Math.floor(slabBytes / this.blockBytes));
    const slabs: Uint8Array<ArrayBuffer>[] = [];
    for (let first = 0; first < group.hostBlocks; first += this.#blocksPerSlab) {
      const blocks = Math.min(this.#blocksPerSlab, group.hostBlocks - first);
      slabs.push(allocate(blocks * this.blockBytes));
    }
    this.slabs = slabs;
  }

  slabOf(block: number): Uint8Array<ArrayBuffer> {
    return this.slabs[Math.floor(block / this.#blocksPerSlab)]!;
  }

  offsetOf(block: number): number {
    return (block % this.#blocksPerSlab) * this.blockBytes;
  }

  /** How many of `blocks` blocks from `first` on lie in the same slab. */
  contiguous(first: number, blocks: number): number {
    return Math.min(blocks, this.#blocksPerSlab - (first % this.#blocksPerSlab));
  }
}

export class HostArena {
  readonly #groups: readonly GroupArena[];

  /** Throws `OUT_OF_MEMORY` where the host tier does not fit. */
  constructor(layout: CacheLayout, slabBytes = SLAB_BYTES) {
    this.#groups = layout.groups.map((group) => new GroupArena(layout, group, slabBytes));
  }

  /**
   * Writes every page once. The first touch of memory costs far more than copying over it later, so it is
   * paid here and not in the first transfers.
   */
  async touch(): Promise<void> {
    for (const slab of this.#groups.flatMap((group) => group.slabs)) {
      for (let at = 0; at < slab.length; at += TOUCH_BYTES) {
        slab.fill(0, at, at + TOUCH_BYTES);
        if (slab.length - at > TOUCH_BYTES) await new Promise((resume) => setTimeout(resume, 0));
      }
    }
  }

  /** One block's record: its planes in order. The memory itself. */
  block(group: number, block: number): Uint8Array<ArrayBuffer> {
    const arena = this.#groups[group]!;
    const offset = arena.offsetOf(block);
    return arena.slabOf(block).subarray(offset, offset + arena.blockBytes);
  }

  /** Copies `blocks` records from `bytes` at `offset` to the blocks from `first` on. */
  store(group: number, first: number, blocks: number, bytes: Uint8Array, offset: number): void {
    const arena = this.#groups[group]!;
    while (blocks > 0) {
      const now = arena.contiguous(first, blocks);
      const size = now * arena.blockBytes;
      arena.slabOf(first).set(bytes.subarray(offset, offset + size), arena.offsetOf(first));
      first += now;
      blocks -= now;
      offset += size;
    }
  }

  /** Queues the records of `blocks` blocks from `first` on to be written to `target` at `offset`. */
  upload(
    queue: GPUQueue,
    group: number,
    first: number,
    blocks: number,
    target: GPUBuffer,
    offset: number,
  ): void {
    const arena = this.#groups[group]!;
    while (blocks > 0) {
      const now = arena.contiguous(first, blocks);
      const size = now * arena.blockBytes;
      queue.writeBuffer(target, offset, arena.slabOf(first), arena.offsetOf(first), size);
      first += now;
      blocks -= now;
      offset += size;
    }
  }
}

function allocate(bytes: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new PagedKvError('OUT_OF_MEMORY', `no ${bytes} bytes for the host tier`, { cause });
  }
}
