/** The tokens of one chain after another, in memory that is used again for each. */
import type { Requests } from './trace.js';

/** A token that no block has. */
const NO_BLOCK = 0;

/**
 * A block of number n is `blockSize` tokens n. What of a chain stands there already, from the one before,
 * is not written again.
 */
export class ChainTokens {
  readonly #blockSize: number;
  readonly #tokens: Uint32Array;
  /** The block that stands at each place. */
  readonly #standing: Uint32Array;

  constructor(blockSize: number, maxChainBlocks: number) {
    this.#blockSize = blockSize;
    this.#tokens = new Uint32Array((maxChainBlocks + 1) * blockSize);
    this.#standing = new Uint32Array(maxChainBlocks + 1);
  }

  /** Writes the blocks of a request from the `begin`th to before the `end`th. O(runs + blocks). */
  write({ runs, runBegins }: Requests, request: number, begin: number, end: number): void {
    let place = 0;
    for (let i = runBegins[request]!; place < end; i += 2) {
      const offset = runs[i]! - place;
      const stop = Math.min(end, place + runs[i + 1]!);
      for (place = Math.max(place, begin); place < stop; place++) this.#put(place, offset + place);
      place = stop;
    }
  }

  /** The first `blocks` blocks and one token more, which belongs to none. */
  prompt(blocks: number): Uint32Array {
    const length = blocks * this.#blockSize;
    this.#tokens[length] = NO_BLOCK;
    this.#standing[blocks] = NO_BLOCK;
    return this.#tokens.subarray(0, length + 1);
  }

  /** Tokens of what was written. */
  slice(begin: number, end: number): Uint32Array {
    return this.#tokens.subarray(begin, end);
  }

  #put(place: number, block: number): void {
    if (this.#standing[place] === block) return;
    this.#standing[place] = block;
    const begin = place * this.#blockSize;
    this.#tokens.fill(block, begin, begin + this.#blockSize);
  }
}
