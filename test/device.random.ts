/** Randomness that can be had again: the seed is part of the test's name and taken back from PAGEDKV_SEED. */

export const seed = Number(process.env.PAGEDKV_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** What to put into the name of a random test. */
export const replay = `PAGEDKV_SEED=${seed}`;

export class Random {
  #state: number;

  /** `stream` tells the tests of one run apart. */
  constructor(stream: string) {
    this.#state = seed;
    for (const char of stream)
      this.#state = Math.imul(this.#state ^ char.charCodeAt(0), 0x01000193);
  }

  /** Another one whose use leaves this one as it is. */
  fork(stream: string): Random {
    return new Random(`${stream} ${this.#state}`);
  }

  /** Uniform in [0, 1). After Mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** Uniform in `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  pick<T>(from: readonly T[]): T {
    return from[this.integer(0, from.length - 1)]!;
  }

  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(0, i);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }

  /** The numbers 0 to `length - 1` in random order. */
  permutation(length: number): number[] {
    return this.shuffle([...Array(length).keys()]);
  }

  /** Close to normal: the sum of uniforms. */
  floats(length: number, spread = 1): Float32Array<ArrayBuffer> {
    return Float32Array.from(
      { length },
      () => (this.next() + this.next() + this.next() + this.next() - 2) * spread * 1.7,
    );
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    return Uint8Array.from({ length }, () => this.integer(0, 255));
  }
}
