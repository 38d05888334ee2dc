/** Values as keys, values and queries are taken to be: independent and normal, the same for each seed. */

export class NormalValues {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  fill(values: Float32Array): Float32Array {
    for (let i = 0; i < values.length; i++) values[i] = this.#next();
    return values;
  }

  /** After Box and Muller. */
  #next(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.#uniform()));
    return radius * Math.cos(2 * Math.PI * this.#uniform());
  }

  /** In [0, 1). After Mulberry32. */
  #uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
}
