/**
 * Moving blocks on a GPU, to and from records packed as a mover likes them. Everything here only encodes and
 * submits: the queue keeps the order, so one buffer serves many moves.
 *
 * A target of `copyWithin` is never a source of the same call.
 */
import { COPY_WORDS, MOVE_WORDS } from '../words.js';
import type { NearPart } from './arena.js';
import type { DeviceMoves } from './between-tiers.js';
import { BufferUsage } from './flags.js';
import type { Piece } from './pieces.js';
import type { Pool, PoolPlane } from './pool.js';
import { risingBlocks, sortedBy } from './runs.js';
import type { Stage } from './stages.js';

export interface BlockMover extends DeviceMoves {
  /** Records that one piece may have at most. */
  readonly maxRecords: number;

  /** How a piece lies in packed memory; undefined where it is whole records end to end. */
  partsOf(piece: Piece): readonly NearPart[] | undefined;

  /** Packs the piece's source blocks into `target`. */
  gather(moves: Uint32Array, piece: Piece, target: GPUBuffer): void;

  /** Unpacks the records in `source` to the piece's target blocks. */
  scatter(moves: Uint32Array, piece: Piece, source: GPUBuffer): void;

  destroy(): void;
}

/** Room for records between the pool and elsewhere. */
export function createPackedBuffer(device: GPUDevice, size: number): GPUBuffer {
  return device.createBuffer({
    label: 'pagedkv packed records',
    size,
    usage: BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST,
  });
}

/**
 * Moves by `copyBufferToBuffer`, one for every plane of every run of neighbours. Each costs a microsecond or
 * two of CPU to encode; where copies are `memcpy` and kernels are emulated, that is still the faster way.
 *
 * Packed are all blocks of one plane, then those of the next: so neighbours in the pool stay neighbours.
 */
export class CopyMover implements BlockMover {
  readonly maxRecords = Number.MAX_SAFE_INTEGER;
  readonly #pool: Pool;
  readonly #packed: GPUBuffer;

  constructor(pool: Pool, packedBytes: number) {
    this.#pool = pool;
    this.#packed = createPackedBuffer(pool.device, packedBytes);
  }

  arrange(moves: Uint32Array, column: number): Uint32Array {
    return sortedBy(moves, column);
  }

  partsOf({ group, first, end, span }: Piece): readonly NearPart[] {
    const planes = this.#pool.groups[group]!.planes.slice(span.first, span.end);
    return planes.map(({ packedOffset, blockBytes }, i) => ({
      near: (packedOffset - span.offset) * (end - first),
      bytes: blockBytes,
      plane: span.first + i,
    }));
  }

  copyWithin(copies: Uint32Array, stage: Stage): void {
    const encoder = this.#pool.device.createCommandEncoder();
    for (let at = 0; at < copies.length;) at = this.#bounce(encoder, copies, at, stage);
    this.#pool.device.queue.submit([encoder.finish()]);
  }

  gather(moves: Uint32Array, piece: Piece, target: GPUBuffer): void {
    const encoder = this.#pool.device.createCommandEncoder();
    this.#eachRun(moves, piece, 1, (slab, inPool, inPacked, bytes) => {
      encoder.copyBufferToBuffer(slab, inPool, target, inPacked, bytes);
    });
    this.#pool.device.queue.submit([encoder.finish()]);
  }

  scatter(moves: Uint32Array, piece: Piece, source: GPUBuffer): void {
    const encoder = this.#pool.device.createCommandEncoder();
    this.#eachRun(moves, piece, 2, (slab, inPool, inPacked, bytes) => {
      encoder.copyBufferToBuffer(source, inPacked, slab, inPool, bytes);
    });
    this.#pool.device.queue.submit([encoder.finish()]);
  }

  destroy(): void {
    this.#packed.destroy();
  }

  /** `column`: of the device block in a record of `moves`. Offsets in bytes. */
  #eachRun(
    moves: Uint32Array,
    { group, first, end, span }: Piece,
    column: number,
    copy: (slab: GPUBuffer, inPool: number, inPacked: number, bytes: number) => void,
  ): void {
    const { planes } = this.#pool.groups[group]!;
    for (let p = span.first; p < span.end; p++) {
      const { offset, blockBytes, packedOffset } = planes[p]!;
      const slab = this.#pool.slabOf(planes[p]!);
      let inPacked = (packedOffset - span.offset) * (end - first);
      for (let i = first; i < end;) {
        const blocks = risingBlocks(moves, column, i, end);
        const bytes = blocks * blockBytes;
        copy(slab, offset + moves[i * MOVE_WORDS + column]! * blockBytes, inPacked, bytes);
        inPacked += bytes;
        i += blocks;
      }
    }
  }

  /**
   * Copies as many blocks from `begin` on as the packed buffer holds, there and back: a copy inside one
   * buffer is not allowed. Returns where the next one begins.
   */
  #bounce(encoder: GPUCommandEncoder, copies: Uint32Array, begin: number, stage: Stage): number {
    let end = begin;
    for (let used = 0; end < copies.length; end += COPY_WORDS) {
      used += this.#pool.groups[copies[end]!]!.blockBytes;
      if (used > this.#packed.size) break;
    }
    this.#eachCopy(copies, begin, end, stage, 1, (slab, inPool, inPacked, bytes) => {
      encoder.copyBufferToBuffer(slab, inPool, this.#packed, inPacked, bytes);
    });
    this.#eachCopy(copies, begin, end, stage, 2, (slab, inPool, inPacked, bytes) => {
      encoder.copyBufferToBuffer(this.#packed, inPacked, slab, inPool, bytes);
    });
    return end;
  }

  /** `column`: of the block in a record of `copies`. Packed are whole blocks, whatever the stage has of them. */
  #eachCopy(
    copies: Uint32Array,
    begin: number,
    end: number,
    stage: Stage,
    column: number,
    copy: (slab: GPUBuffer, inPool: number, inPacked: number, bytes: number) => void,
  ): void {
    let packed = 0;
    for (let at = begin; at < end; at += COPY_WORDS) {
      const group = this.#pool.groups[copies[at]!]!;
      const span = stage[copies[at]!]!;
      for (let p = span.first; p < span.end; p++) {
        const plane: PoolPlane = group.planes[p]!;
        const inPool = plane.offset + copies[at + column]! * plane.blockBytes;
        const bytes = copies[at + 3]! * plane.bytesPerToken;
        copy(this.#pool.slabOf(plane), inPool, packed + plane.packedOffset, bytes);
      }
      packed += group.blockBytes;
    }
  }
}
