/**
 * In which order executions reach a device, and when they may end. The queue of a GPU keeps its own order, so a
 * pass may be submitted as soon as what it reads has been submitted, and what it overwrites has been gathered;
 * the bytes that go to the host land later, beside the pass.
 *
 * Steps submit in turns. A swap-out takes no turn: nothing may overwrite what it reads before it has ended. A
 * prefetch gives up its turn once its gathers are submitted: a step that names a block which is still to
 * arrive waits for it.
 *
 * Invariant: when work is told its end, none of its pieces touches memory any more.
 */
import { PagedKvError } from '../errors.js';
import type { CacheLayout, Executable, Moves } from '../plan.js';
import { MOVE_WORDS } from '../words.js';
import type { DeviceMoves, DeviceTables, MovesAtOnce, TierTransfers } from './between-tiers.js';
import { BlocksUnderWay } from './blocks-under-way.js';
import { deferred, type Deferred } from './deferred.js';
import { Job } from './job.js';
import type { Stage, Stages } from './stages.js';
import { ticketOf, type Ticket } from './ticket.js';

/** What executions work on. */
export interface ExecutorParts {
  readonly layout: CacheLayout;
  readonly stages: Stages;
  readonly mover: DeviceMoves;
  /** Absent where there is no host tier. */
  readonly transfers: TierTransfers | undefined;
  /** Absent where nothing moves at once. */
  readonly atOnce?: MovesAtOnce;
  /** Absent where attention reads those of the manager. */
  readonly tables?: DeviceTables;
  /** Throws where nothing can be executed any more. */
  readonly checkUsable: () => void;
  /** What to tell of an error. */
  readonly explain: (error: unknown) => Promise<unknown>;
}

export class Executor {
  readonly #parts: ExecutorParts;
  readonly #blocks: BlocksUnderWay;
  readonly #jobs = new Set<Job>();
  /** The last turn that was taken, until it is over. */
  #turn: Deferred | undefined;

  constructor(parts: ExecutorParts) {
    this.#parts = parts;
    this.#blocks = new BlocksUnderWay(parts.layout);
  }

  execute(work: Executable): Ticket {
    try {
      const { moves } = work;
      if (this.#turn === undefined && this.#blocks.isEmpty && this.#isQuick(moves)) {
        return ticketOf(this.#executeAtOnce(work));
      }
      return this.#start(work, this.#copyOf(moves));
    } catch (error) {
      const ended = deferred();
      ended.reject(error);
      return ticketOf(ended.promise);
    }
  }

  /** Ends all executions under way as failed, as soon as none of their pieces is at work. */
  stop(error: unknown): void {
    for (const job of this.#jobs) job.flight.stop(error);
  }

  #isQuick(moves: Moves): boolean {
    return !hasMoves(moves) || this.#parts.atOnce?.fits(moves) === true;
  }

  /** The way of most steps of a decoding loop: nothing moves. */
  async #executeAtOnce(work: Executable): Promise<void> {
    const job = new Job(work, work.moves, []);
    try {
      this.#begin(job);
      if (hasMoves(job.moves)) this.#moveAtOnce(job);
    } catch (error) {
      job.tellFailure();
      throw await this.#parts.explain(error);
    }
    work.endExecute(true, job.times);
  }

  #moveAtOnce(job: Job): void {
    job.startClock();
    this.#parts.atOnce!.move(job.moves, job.lap);
  }

  #start(work: Executable, moves: Moves): Ticket {
    const job = new Job(work, moves, this.#stagesFor(moves));
    const awaited = this.#blocks.awaitedBy(moves, work.attention);
    const number = this.#blocks.begin(job, moves);
    if (!job.isSwapOut) this.#takeTurn(job);
    this.#jobs.add(job);
    void this.#perform(job, awaited, this.#blocks.readsOwn(number, moves)).finally(() => {
      this.#blocks.end(number);
      this.#jobs.delete(job);
    });
    return job.ticket(this.#parts.stages);
  }

  #takeTurn(job: Job): void {
    const turn = deferred();
    job.before = this.#turn?.promise;
    job.turn = this.#turn = turn;
    void turn.promise.then(() => {
      if (this.#turn === turn) this.#turn = undefined;
    });
  }

  async #perform(job: Job, awaited: ReadonlySet<Promise<void>>, readsOwn: boolean): Promise<void> {
    try {
      if (job.before !== undefined) await job.before;
      job.flight.check();
      this.#begin(job);
      for (const each of awaited) await each;
      job.startClock();
      await this.#move(job, readsOwn);
      job.tellSubmitted();
      job.turn?.resolve();
      await job.flight.landed();
      this.#parts.checkUsable();
    } catch (error) {
      await this.#fail(job, error);
      return;
    }
    job.end();
  }

  async #fail(job: Job, error: unknown): Promise<void> {
    job.flight.stop(error);
    await job.flight.settled();
    job.tellFailure();
    job.turn?.resolve();
    job.reject(await this.#parts.explain(error));
  }

  #begin(job: Job): void {
    this.#parts.checkUsable();
    job.work.beginExecute();
    job.hasBegun = true;
    const { attention } = job.work;
    if (attention === undefined) return;
    // A prefetch may come between a step and its pass, which reads the lists of the step.
    if (job.isPrefetch) this.#parts.tables?.uploadCells(attention);
    else this.#parts.tables?.upload(attention);
  }

  /** Returns when all is submitted. */
  async #move(job: Job, readsOwn: boolean): Promise<void> {
    const { flight } = job;
    const gathered = flight.add(this.#offload(job));
    if (readsOwn) {
      await gathered;
      await flight.landed();
    }
    const arrivals: Promise<void>[] = [];
    for (const index of job.stages.keys()) {
      const pieces = await this.#onboard(job, index, gathered);
      arrivals.push(flight.add(this.#arrive(job, index, [gathered, ...pieces])));
    }
    await Promise.all(arrivals);
    flight.check();
  }

  /** Returns when all gathers are submitted. */
  async #offload(job: Job): Promise<void> {
    const { moves, flight } = job;
    if (moves.offloads.length > 0) {
      const transfers = this.#hostTransfers();
      await transfers.offload(moves.offloads, this.#parts.stages.whole, flight);
      if (transfers.landsFirst) job.lap('offload');
    }
    if (job.isPrefetch) job.turn?.resolve();
  }

  /** Returns the pieces under way. */
  async #onboard(job: Job, stage: number, gathered: Promise<void>): Promise<Promise<void>[]> {
    const { moves, flight } = job;
    if (moves.onboards.length === 0) return [];
    const transfers = this.#hostTransfers();
    return transfers.onboard(moves.onboards, job.stages[stage]!, flight, gathered, stage === 0);
  }

  async #arrive(job: Job, stage: number, pieces: readonly Promise<void>[]): Promise<void> {
    await Promise.all(pieces);
    job.flight.check();
    const { copies } = job.moves;
    if (copies.length > 0) this.#parts.mover.copyWithin(copies, job.stages[stage]!);
    job.arrived[stage]!.resolve();
  }

  #hostTransfers(): TierTransfers {
    const { transfers } = this.#parts;
    if (transfers !== undefined) return transfers;
    throw new PagedKvError('OUT_OF_RANGE', 'the layout has no host tier to transfer with');
  }

  /** A step that ends while its moves wait leaves their memory to the next one. */
  #copyOf({ offloads, onboards, copies }: Moves): Moves {
    const { mover } = this.#parts;
    return {
      offloads: mover.arrange(offloads, 1),
      onboards: mover.arrange(onboards, 2),
      copies: copies.slice(),
    };
  }

  /** As many as it takes for each to fill a staging buffer or so. */
  #stagesFor({ onboards }: Moves): readonly Stage[] {
    const { transfers, stages } = this.#parts;
    if (transfers === undefined || onboards.length === 0) return [stages.whole];
    let bytes = 0;
    for (let at = 0; at < onboards.length; at += MOVE_WORDS) {
      bytes += stages.whole[onboards[at]!]!.bytes;
    }
    return stages.split(Math.ceil(bytes / transfers.stageBytes));
  }
}

function hasMoves({ offloads, onboards, copies }: Moves): boolean {
  return offloads.length > 0 || onboards.length > 0 || copies.length > 0;
}
