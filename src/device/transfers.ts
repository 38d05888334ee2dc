/**
 * Blocks between the device tier and the host tier, in pieces as large as the staging buffers. Native threads
 * copy one piece between staging and the host tier while the GPU works on the next, and the JavaScript thread
 * only hands them on.
 */
import type { HostArena } from './arena.js';
import type { TierTransfers } from './between-tiers.js';
import type { Flight } from './flight.js';
import type { Intercept, TransferPiece } from './intercept.js';
import type { BlockMover } from './moves.js';
import { piecesOf, type Piece } from './pieces.js';
import type { Pool } from './pool.js';
import type { Stage } from './stages.js';
import { StagingRing, type Staging } from './staging.js';

export class Transfers implements TierTransfers {
  readonly landsFirst = false;
  readonly #arena: HostArena;
  readonly #mover: BlockMover;
  readonly #intercept: Intercept | undefined;
  readonly #out: StagingRing;
  readonly #in: StagingRing;

  constructor(
    pool: Pool,
    arena: HostArena,
    mover: BlockMover,
    stagingBytes: number,
    intercept?: Intercept,
  ) {
    this.#arena = arena;
    this.#mover = mover;
    this.#intercept = intercept;
    this.#out = new StagingRing(pool.device, 'out', stagingBytes);
    this.#in = new StagingRing(pool.device, 'in', stagingBytes);
  }

  /** As many as a piece has at most. */
  get stageBytes(): number {
    return this.#out.bytes;
  }

  /** Resolves when all gathers are submitted. */
  async offload(moves: Uint32Array, stage: Stage, flight: Flight): Promise<void> {
    for (const piece of piecesOf(moves, stage, this.#out.bytes, this.#mover.maxRecords)) {
      const staging = await this.#out.acquire();
      try {
        flight.check();
        this.#mover.gather(moves, piece, staging.buffer);
      } catch (error) {
        this.#out.release(staging);
        throw error;
      }
      void flight.add(this.#land(moves, piece, staging, flight));
    }
  }

  /** Resolves once every piece has a buffer. Nothing is submitted until `before` resolves. */
  async onboard(
    moves: Uint32Array,
    stage: Stage,
    flight: Flight,
    before: Promise<void>,
  ): Promise<Promise<void>[]> {
    const pieces: Promise<void>[] = [];
    for (const piece of piecesOf(moves, stage, this.#in.bytes, this.#mover.maxRecords)) {
      const staging = await this.#in.acquire();
      try {
        flight.check();
      } catch (error) {
        this.#in.release(staging);
        throw error;
      }
      pieces.push(flight.add(this.#send(moves, piece, staging, flight, before)));
    }
    return pieces;
  }

  destroy(): void {
    this.#out.destroy();
    this.#in.destroy();
  }

  async #land(moves: Uint32Array, piece: Piece, staging: Staging, flight: Flight): Promise<void> {
    const { first, end, bytes } = piece;
    const parts = this.#mover.partsOf(piece);
    try {
      await staging.map();
      await this.#arrive('offload', piece);
      await staging.lend((all) => {
        flight.check();
        return this.#arena.store(moves, first, end, all.subarray(0, bytes), parts);
      });
    } finally {
      staging.unmap();
      this.#out.release(staging);
    }
  }

  async #send(
    moves: Uint32Array,
    piece: Piece,
    staging: Staging,
    flight: Flight,
    before: Promise<void>,
  ): Promise<void> {
    const { first, end, bytes } = piece;
    const parts = this.#mover.partsOf(piece);
    try {
      await staging.map();
      await staging.lend((all) => {
        flight.check();
        return this.#arena.load(moves, first, end, all.subarray(0, bytes), parts);
      });
      await this.#arrive('onboard', piece);
      await before;
      flight.check();
      staging.unmap();
      this.#mover.scatter(moves, piece, staging.buffer);
    } finally {
      // Ahead of its next use, which finds out whether it worked.
      void staging.map().catch(() => undefined);
      this.#in.release(staging);
    }
  }

  #arrive(direction: TransferPiece['direction'], piece: Piece): void | Promise<void> {
    if (this.#intercept === undefined) return;
    const { group, first, end, bytes } = piece;
    return this.#intercept({ direction, group, blocks: end - first, bytes });
  }
}
