/** One execution on its way: what it is to do, what it waits for, and those who wait for it. */
import { PagedKvError } from '../errors.js';
import type { Executable, Moves, TransferTimes } from '../plan.js';
import { deferred, type Deferred } from './deferred.js';
import { Flight } from './flight.js';
import type { Stage, Stages } from './stages.js';
import { Ticket } from './ticket.js';
import { TransferClock, type Way } from './transfer-clock.js';

export class Job {
  readonly work: Executable;
  readonly moves: Moves;
  readonly stages: readonly Stage[];
  readonly flight = new Flight();
  /** By stage: what attention on its layers reads has been submitted. */
  readonly arrived: readonly Deferred[];
  readonly submitted = deferred();
  readonly ended = deferred();
  /** The turn that it waits for, and its own; neither where it takes no turn. */
  before: Promise<void> | undefined;
  turn: Deferred | undefined;
  hasBegun = false;
  /** Only offloads, which nothing has to wait for. */
  readonly isSwapOut: boolean;
  /** No pass follows it: its one sequence computes no token. */
  readonly isPrefetch: boolean;
  #clock: TransferClock | undefined;

  constructor(work: Executable, moves: Moves, stages: readonly Stage[]) {
    this.work = work;
    this.moves = moves;
    this.stages = stages;
    this.arrived = stages.map(deferred);
    // Asked now: by its end, the manager may have been closed.
    const { attention } = work;
    const hasOnlyOffloads = moves.onboards.length === 0 && moves.copies.length === 0;
    this.isSwapOut = attention === undefined && hasOnlyOffloads;
    this.isPrefetch = attention?.tokens === 0;
  }

  ticket(stages: Stages): Ticket {
    const layer = (number: number): Promise<void> => {
      const stage = stages.indexOf(number, this.stages.length);
      return (this.arrived[stage] ?? this.submitted).promise;
    };
    return new Ticket(this.ended.promise, this.submitted.promise, layer, () => {
      this.flight.stop(new PagedKvError('EXECUTION_CANCELLED', 'the execution was cancelled'));
    });
  }

  get times(): TransferTimes | undefined {
    return this.#clock?.times;
  }

  startClock(): void {
    this.#clock = new TransferClock();
  }

  /** What has passed since the last lap went that way. Requires that the clock was started. */
  readonly lap = (way: Way): void => {
    this.#clock!.lap(way);
  };

  /** Whoever waits for the pass goes on: until now it waited for what it brings back, and for nothing else. */
  tellSubmitted(): void {
    if (this.moves.onboards.length > 0) this.lap('onboard');
    this.submitted.resolve();
  }

  end(): void {
    // What leaves lands beside passes; but who frees blocks waits for it.
    if (this.isSwapOut && this.moves.offloads.length > 0) this.lap('offload');
    try {
      this.work.endExecute(true, this.times);
      this.ended.resolve();
    } catch (error) {
      this.ended.reject(error);
    }
  }

  /** What goes wrong in telling so is not what went wrong. */
  tellFailure(): void {
    if (!this.hasBegun) return;
    try {
      this.work.endExecute(false);
    } catch {
      // The manager was closed meanwhile: nobody is left to be told.
    }
  }

  reject(reason: unknown): void {
    for (const each of [...this.arrived, this.submitted, this.ended]) each.reject(reason);
  }
}
