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
import { StagingRing, turnOfEvents, type Staging } from './staging.js';

/** Of a transfer's first piece at most: soon the GPU has something to do, or the host. */
const FIRST_BYTES = 2 * 2 ** 20;

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
    for (const piece of this.#piecesOf(moves, stage, FIRST_BYTES)) {
      const staging = await this.#out.acquire();
      // What has arrived meanwhile is more urgent than what comes next.
      if (piece.first > 0) await turnOfEvents();
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

  /**
   * Resolves once every piece has a buffer. Nothing is submitted until `before` resolves. `isFirst`: nothing else of
   * the flight comes this way before.
   */
  async onboard(
    moves: Uint32Array,
    stage: Stage,
    flight: Flight,
    before: Promise<void>,
    isFirst: boolean,
  ): Promise<Promise<void>[]> {
    const pieces: Promise<void>[] = [];
    for (const piece of this.#piecesOf(moves, stage, isFirst ? FIRST_BYTES : undefined)) {
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

  #piecesOf(moves: Uint32Array, stage: Stage, firstBytes?: number): Iterable<Piece> {
    return piecesOf(moves, stage, this.#out.bytes, this.#mover.maxRecords, firstBytes);
  }

  async #land(moves: Uint32Array, piece: Piece, staging: Staging, flight: Flight): Promise<void> {
    const { first, end, bytes } = piece;
    const parts = this.#mover.partsOf(piece);
    try {
      // Whoever is held up here holds up no others.
      await this.#arrive('offload', piece);
      await this.#out.lend(staging, (all) => {
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
      await this.#in.lend(staging, (all) => {
        flight.check();
        return this.#arena.load(moves, first, end, all.subarray(0, bytes), parts);
      });
      await this.#arrive('onboard', piece);
      await before;
      flight.check();
      staging.unmap();
      this.#mover.scatter(moves, piece, staging.buffer);
    } finally {
      this.#in.release(staging);
    }
  }

  #arrive(direction: TransferPiece['direction'], piece: Piece): void | Promise<void> {
    if (this.#intercept === undefined) return;
    const { group, first, end, bytes } = piece;
    return this.#intercept({ direction, group, blocks: end - first, bytes });
  }
}
