/**
 * Moving blocks on a GPU. A *packed record* is one block with its planes end to end; records wait in the
 * `packed` buffer between the pool and the host. Everything here only encodes and submits: the queue keeps
 * the order, so one buffer serves many moves.
 *
 * A target of `copyWithin` is never a source of the same call.
 */
import { COPY_WORDS, MOVE_WORDS } from '../words.js';
import { BufferUsage } from './flags.js';
import type { Pool } from './pool.js';

export interface BlockMover {
  /** Room for records between the pool and elsewhere: copy source and target, and storage. */
  readonly packed: GPUBuffer;
  /** Records that one `gather` or `scatter` may move at most. */
  readonly maxRecords: number;

  /** Copies the first tokens of blocks to other blocks: records of group, source, target, tokens. */
  copyWithin(copies: Uint32Array): void;

  /** Packs the source blocks of records `first` to `end` of `moves`, all of one group, into `target`. */
  gather(moves: Uint32Array, first: number, end: number, target: GPUBuffer): void;

  /** Unpacks the records in `packed` to the target blocks of records `first` to `end`, all of one group. */
  scatter(moves: Uint32Array, first: number, end: number): void;

  destroy(): void;
}

export function createPackedBuffer(device: GPUDevice, size: number): GPUBuffer {
  return device.createBuffer({
    label: 'pagedkv packed records',
    size,
    usage: BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST,
  });
}

/**
 * Moves by `copyBufferToBuffer`, one for every plane of every block. Each costs microseconds of CPU to
 * encode; where copies are `memcpy` and kernels are emulated, that is still the faster way.
 */
export class CopyMover implements BlockMover {
  readonly packed: GPUBuffer;
  readonly maxRecords = Number.MAX_SAFE_INTEGER;
  readonly #pool: Pool;

  constructor(pool: Pool, packedBytes: number) {
    this.#pool = pool;
    this.packed = createPackedBuffer(pool.device, packedBytes);
  }

  copyWithin(copies: Uint32Array): void {
    if (copies.length === 0) return;
    const encoder = this.#pool.device.createCommandEncoder();
    for (let at = 0; at < copies.length;) at = this.#bounce(encoder, copies, at);
    this.#pool.device.queue.submit([encoder.finish()]);
  }

  gather(moves: Uint32Array, first: number, end: number, target: GPUBuffer): void {
    const encoder = this.#pool.device.createCommandEncoder();
    const group = this.#pool.groups[moves[first * MOVE_WORDS]!]!;
    for (let i = first; i < end; i++) {
      const source = moves[i * MOVE_WORDS + 1]!;
      const record = (i - first) * group.blockBytes;
      for (const plane of group.planes) {
        const from = plane.offset + source * plane.blockBytes;
        const slab = this.#pool.slabOf(plane);
        encoder.copyBufferToBuffer(
          slab,
          from,
          target,
          record + plane.packedOffset,
          plane.blockBytes,
        );
      }
    }
    this.#pool.device.queue.submit([encoder.finish()]);
  }

  scatter(moves: Uint32Array, first: number, end: number): void {
    const encoder = this.#pool.device.createCommandEncoder();
    const group = this.#pool.groups[moves[first * MOVE_WORDS]!]!;
    for (let i = first; i < end; i++) {
      const target = moves[i * MOVE_WORDS + 2]!;
      const record = (i - first) * group.blockBytes;
      for (const plane of group.planes) {
        const to = plane.offset + target * plane.blockBytes;
        const slab = this.#pool.slabOf(plane);
        encoder.copyBufferToBuffer(
          this.packed,
          record + plane.packedOffset,
          slab,
          to,
          plane.blockBytes,
        );
      }
    }
    this.#pool.device.queue.submit([encoder.finish()]);
  }

  destroy(): void {
    this.packed.destroy();
  }

  /**
   * Copies as many blocks from `begin` on as the packed buffer holds, there and back: a copy inside one
   * buffer is not allowed. Returns where the next one begins.
   */
  #bounce(encoder: GPUCommandEncoder, copies: Uint32Array, begin: number): number {
    let end = begin;
    for (let used = 0; end < copies.length; end += COPY_WORDS) {
      used += this.#pool.groups[copies[end]!]!.blockBytes;
      if (used > this.packed.size) break;
    }
    this.#encodeBounce(encoder, copies, begin, end, true);
    this.#encodeBounce(encoder, copies, begin, end, false);
    return end;
  }

  #encodeBounce(
    encoder: GPUCommandEncoder,
    copies: Uint32Array,
    begin: number,
    end: number,
    isOutward: boolean,
  ): void {
    let record = 0;
    for (let at = begin; at < end; at += COPY_WORDS) {
      const group = this.#pool.groups[copies[at]!]!;
      const block = copies[at + (isOutward ? 1 : 2)]!;
      const tokens = copies[at + 3]!;
      for (const plane of group.planes) {
        const slab = this.#pool.slabOf(plane);
        const inPool = plane.offset + block * plane.blockBytes;
        const inPacked = record + plane.packedOffset;
        const bytes = tokens * plane.bytesPerToken;
        if (isOutward) encoder.copyBufferToBuffer(slab, inPool, this.packed, inPacked, bytes);
        else encoder.copyBufferToBuffer(this.packed, inPacked, slab, inPool, bytes);
      }
      record += group.blockBytes;
    }
  }
}
