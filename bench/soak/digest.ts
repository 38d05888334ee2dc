/** What a run did, as one number. */
import { mix } from './mix.js';

export class Digest {
  #low = 1;
  #high = 2;

  add(...values: readonly number[]): void {
    for (const value of values) this.#take(value);
  }

  get hex(): string {
    return [this.#high, this.#low].map((half) => half.toString(16).padStart(8, '0')).join('');
  }

  #take(word: number): void {
    this.#low = mix(Math.imul(this.#low, 31) + (word | 0));
    this.#high = mix(this.#high ^ this.#low);
  }
}
