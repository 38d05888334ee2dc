/** Chance from a seed. */
import { Noise } from '../../src/cli/bench/machine.js';

export class Dice {
  readonly #noise: Noise;

  /** `stream` tells those of one seed apart. */
  constructor(seed: number, stream: number) {
    this.#noise = new Noise(seed, stream);
  }

  chance(probability: number): boolean {
    return this.#noise.next() < probability;
  }

  /** A whole number from `low` to `high`. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.#noise.next() * (high - low + 1));
  }

  pick<T>(from: readonly T[]): T {
    return from[this.integer(0, from.length - 1)]!;
  }

  /** Of events that come at random, one in `mean` on average: how long until the next. */
  interval(mean: number): number {
    return -mean * Math.log(1 - this.#noise.next());
  }

  /** About 1, lognormal. */
  factor(deviation: number): number {
    return this.#noise.factor(deviation);
  }
}
