/**
 * Executions under way: blocks that move between the tiers beside the passes. How each ended, and how much of
 * its time the passes covered.
 */
import type { CacheDevice, Executable } from '../../src/plan.js';
import { isMeant } from './faults.js';

/** What moved between the tiers. Blocks are of executions that ended well. */
export interface TransferUse {
  readonly outBlocks: number;
  readonly inBlocks: number;
  /** Of `inBlocks` those that a prefetch brought, beside the pass before the one that needs them. */
  readonly aheadBlocks: number;
  readonly flights: number;
  /** Of `flights` those that failed. */
  readonly failed: number;
  /** That flights were under way, added up. */
  readonly seconds: number;
  /** Of `seconds` those in which a pass ran. */
  readonly besideSeconds: number;
}

/** One execution. Both promises tell whether it went well, and reject only with what nobody meant to happen. */
export interface Flight {
  /** The pass may go. */
  readonly submitted: Promise<boolean>;
  readonly ended: Promise<boolean>;
}

export class Flights {
  readonly #cache: CacheDevice;
  readonly #underWay = new Set<Promise<boolean>>();
  readonly #use = {
    outBlocks: 0,
    inBlocks: 0,
    aheadBlocks: 0,
    flights: 0,
    failed: 0,
    seconds: 0,
    besideSeconds: 0,
  };
  /** That passes have run, all together, but for the one that began last and still runs. */
  #passSeconds = 0;
  #passBegan: number | undefined;

  constructor(cache: CacheDevice) {
    this.#cache = cache;
  }

  get use(): TransferUse {
    return this.#use;
  }

  get isEmpty(): boolean {
    return this.#underWay.size === 0;
  }

  start(work: Executable): Flight {
    const outBlocks = work.moves.offloads.length / recordWords;
    const inBlocks = work.moves.onboards.length / recordWords;
    const isPrefetch = work.attention?.tokens === 0;
    const [began, passesBefore] = [now(), this.#passTime()];
    const execution = this.#cache.execute(work);
    const ended = isWell(execution).then((ok) => {
      if (outBlocks + inBlocks === 0) return ok;
      const use = this.#use;
      use.flights++;
      use.seconds += now() - began;
      use.besideSeconds += this.#passTime() - passesBefore;
      if (!ok) use.failed++;
      if (!ok) return false;
      use.outBlocks += outBlocks;
      use.inBlocks += inBlocks;
      if (isPrefetch) use.aheadBlocks += inBlocks;
      return true;
    });
    this.#keep(ended);
    return { submitted: isWell(execution.submitted), ended };
  }

  /** Runs a pass, beside whatever is under way; also tells the seconds it took. */
  async pass<T>(compute: () => Promise<T>): Promise<{ result: T; seconds: number }> {
    // What has ended is told first: a pass on the CPU keeps the thread to itself.
    await new Promise((resume) => setImmediate(resume));
    const began = now();
    this.#passBegan = began;
    const result = await compute();
    const seconds = now() - began;
    this.#passSeconds += seconds;
    this.#passBegan = undefined;
    return { result, seconds };
  }

  /** Resolves when the next one has ended; at once where none is under way. */
  async landing(): Promise<void> {
    if (!this.isEmpty) await Promise.race(this.#underWay);
  }

  async landed(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** What nobody meant to happen stays, for whoever waits next. */
  #keep(ended: Promise<boolean>): void {
    this.#underWay.add(ended);
    ended.then(
      () => this.#underWay.delete(ended),
      () => undefined,
    );
  }

  #passTime(): number {
    return this.#passSeconds + (this.#passBegan === undefined ? 0 : now() - this.#passBegan);
  }
}

/** Of an offload or onboard: group, source, target. */
const recordWords = 3;

async function isWell(promise: Promise<void>): Promise<boolean> {
  try {
    await promise;
    return true;
  } catch (error) {
    if (isMeant(error)) return false;
    throw error;
  }
}

function now(): number {
  return performance.now() / 1000;
}
