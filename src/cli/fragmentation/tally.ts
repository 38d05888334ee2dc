/** How the slots of the memory were used, averaged over passes. */

/** Shares of all slots, from 0 to 1, which add up to 1, and the requests in a pass. */
export interface Shares {
  /** Hold a token of a running request. */
  readonly utilisation: number;
  /** Empty now, held by a request that will fill them. */
  readonly reserved: number;
  /** Held by a request that will never fill them. */
  readonly internalWaste: number;
  /** Held by no request: too small or too scattered to be given out, rounded away, or kept free. */
  readonly externalWaste: number;
  readonly meanBatch: number;
}

class Sums {
  passes = 0;
  used = 0;
  reserved = 0;
  internal = 0;
  running = 0;
}

/**
 * Averages over the passes in which somebody waits, so that an end with nobody left to admit does not count
 * as waste; over all of them where nobody ever waits.
 */
export class Tally {
  readonly #slots: number;
  readonly #all = new Sums();
  readonly #saturated = new Sums();

  constructor(slots: number) {
    this.#slots = slots;
  }

  /** Slots of one pass, and the requests that were in it. */
  add(used: number, reserved: number, internal: number, running: number, isWaited: boolean): void {
    for (const sums of isWaited ? [this.#all, this.#saturated] : [this.#all]) {
      sums.passes += 1;
      sums.used += used;
      sums.reserved += reserved;
      sums.internal += internal;
      sums.running += running;
    }
  }

  shares(): Shares {
    const sums = this.#saturated.passes > 0 ? this.#saturated : this.#all;
    const passes = Math.max(1, sums.passes);
    const all = passes * this.#slots;
    return {
      utilisation: sums.used / all,
      reserved: sums.reserved / all,
      internalWaste: sums.internal / all,
      externalWaste: (all - sums.used - sums.reserved - sums.internal) / all,
      meanBatch: sums.running / passes,
    };
  }
}
