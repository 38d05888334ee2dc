/** How long moves keep a pass waiting, by the way they go: what the manager learns from. */
import type { TransferTimes } from '../plan.js';

export type Way = keyof TransferTimes;

export class TransferClock {
  readonly #times: Partial<Record<Way, number>> = {};
  #last = performance.now();

  /** Undefined where nothing was timed. Milliseconds. */
  get times(): TransferTimes | undefined {
    return Object.keys(this.#times).length > 0 ? this.#times : undefined;
  }

  /** What has passed since the last lap went that way. */
  lap(way: Way): void {
    const now = performance.now();
    this.#times[way] = (this.#times[way] ?? 0) + now - this.#last;
    this.#last = now;
  }
}
