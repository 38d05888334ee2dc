/** What executions ask of a device: to move blocks between its tiers, and within its own memory. */
import type { Attention, Moves } from '../plan.js';
import type { Flight } from './flight.js';
import type { Stage } from './stages.js';
import type { Way } from './transfer-clock.js';

export interface TierTransfers {
  /** Bytes to bring in that are worth a stage of their own, which attention on its layers alone waits for. */
  readonly stageBytes: number;
  /** Whether `offload` keeps the pass waiting until all has landed, which is then timed. */
  readonly landsFirst: boolean;

  /**
   * Device → host. Resolves when the source blocks may be overwritten by what comes next; the bytes land as
   * pieces of the flight.
   */
  offload(moves: Uint32Array, stage: Stage, flight: Flight): Promise<void>;

  /**
   * Host → device. Resolves once every piece is on its way, to the pieces: each resolves when what comes next
   * may read it, and never rejects, as failures are the flight's. `before`: nothing is overwritten before it
   * resolves. `isFirst`: nothing else of the flight comes this way before.
   */
  onboard(
    moves: Uint32Array,
    stage: Stage,
    flight: Flight,
    before: Promise<void>,
    isFirst: boolean,
  ): Promise<Promise<void>[]>;
}

export interface DeviceMoves {
  /** A copy of the records in the order in which they are best moved. `column`: of the device block. */
  arrange(moves: Uint32Array, column: number): Uint32Array;

  /** Copies the first tokens of blocks to other blocks: records of group, source, target, tokens. */
  copyWithin(copies: Uint32Array, stage: Stage): void;
}

/** Moves that are made by the caller's thread, where nothing else is under way. */
export interface MovesAtOnce {
  fits(moves: Moves): boolean;
  /** Calls `lap` when it is through with those of one way. */
  move(moves: Moves, lap: (way: Way) => void): void;
}

/** The tables of steps, where attention reads them from the device. */
export interface DeviceTables {
  /** Takes over those of a step, which is the one that passes read from now on. */
  upload(attention: Attention): void;
  /** Takes over what changed in the block tables alone. */
  uploadCells(attention: Attention): void;
}
