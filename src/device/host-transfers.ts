/**
 * Blocks between a device tier that is host memory itself and the host tier: native threads copy them from one
 * to the other, beside the engine's pass, a few pieces at a time.
 */
import { MOVE_WORDS } from '../words.js';
import type { HostArena } from './arena.js';
import type { TierTransfers } from './between-tiers.js';
import type { Flight } from './flight.js';
import type { Intercept, TransferPiece } from './intercept.js';
import { blockBytes, groupAt } from './layout.js';
import type { BlockShape } from '../native.js';
import { piecesOf, type Piece } from './pieces.js';
import type { PlaneMemory } from './planes.js';
import { Ring } from './ring.js';
import { endOfGroup } from './runs.js';
import type { Stage } from './stages.js';

/** Of each way. A pass on the thread that hands them on may keep it until all of them have long been copied. */
const PIECES_AT_ONCE = 4;

type Direction = TransferPiece['direction'];

export class HostTransfers implements TierTransfers {
  /** Attention runs where the next layer would be handed on. */
  readonly stageBytes = Infinity;
  readonly landsFirst = true;
  readonly #arena: HostArena;
  /** Of the device tier. */
  readonly #memory: number;
  /** By group. */
  readonly #shapes: readonly BlockShape[];
  readonly #pieceBytes: number;
  readonly #intercept: Intercept | undefined;
  readonly #ways = { offload: newRing(), onboard: newRing() };

  /** `pieceBytes`: room for one block of any group is made at least. */
  constructor(planes: PlaneMemory, arena: HostArena, pieceBytes: number, intercept?: Intercept) {
    const { groups } = arena.layout;
    this.#arena = arena;
    this.#memory = planes.memory.id;
    this.#shapes = groups.map((_, group) => planes.shape(group, arena));
    const largest = Math.max(...groups.map((group) => blockBytes(arena.layout, group)));
    this.#pieceBytes = Math.max(pieceBytes, largest);
    this.#intercept = intercept;
  }

  /** Resolves when all have landed: nothing but the copy itself saves what the pass overwrites. */
  async offload(moves: Uint32Array, stage: Stage, flight: Flight): Promise<void> {
    await Promise.all(await this.#begin('offload', moves, stage, flight));
  }

  async onboard(
    moves: Uint32Array,
    stage: Stage,
    flight: Flight,
    before: Promise<void>,
  ): Promise<Promise<void>[]> {
    await before;
    return this.#begin('onboard', moves, stage, flight);
  }

  /** All records of a list, on this thread and others; has done so when it returns. */
  moveAtOnce(direction: Direction, moves: Uint32Array): void {
    const records = moves.length / MOVE_WORDS;
    for (let first = 0, end; first < records; first = end) {
      end = endOfGroup(moves, first, records);
      this.#arena.move(...this.#moveOf(direction, moves, { first, end }));
    }
  }

  async #begin(
    direction: Direction,
    moves: Uint32Array,
    stage: Stage,
    flight: Flight,
  ): Promise<Promise<void>[]> {
    const pieces: Promise<void>[] = [];
    const ring = this.#ways[direction];
    for (const piece of piecesOf(moves, stage, this.#pieceBytes, Infinity)) {
      const place = await ring.acquire();
      const moved = this.#move(direction, moves, piece, flight);
      pieces.push(flight.add(moved.finally(() => ring.release(place))));
    }
    return pieces;
  }

  async #move(
    direction: Direction,
    moves: Uint32Array,
    piece: Piece,
    flight: Flight,
  ): Promise<void> {
    flight.check();
    if (this.#intercept !== undefined) {
      const { group, first, end, bytes } = piece;
      await this.#intercept({ direction, group, blocks: end - first, bytes });
      flight.check();
    }
    await this.#arena.begin(...this.#moveOf(direction, moves, piece));
  }

  #moveOf(
    direction: Direction,
    moves: Uint32Array,
    { first, end }: Pick<Piece, 'first' | 'end'>,
  ): Parameters<HostArena['move']> {
    const group = moves[first * MOVE_WORDS]!;
    groupAt(this.#arena.layout, group);
    return [direction === 'offload', this.#shapes[group]!, moves, first, end, this.#memory];
  }
}

function newRing(): Ring<number> {
  return new Ring(Array(PIECES_AT_ONCE).keys());
}
