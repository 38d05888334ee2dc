/** What operations are held against: memory that is read, or copied, just once. */
import type { Round } from './case.js';
import { expect } from './case.js';
import { BLOCK_SIZE } from './engine.js';
import { wasmCompare, type Compare } from './wasm.js';

/** Copies words once. */
export function copyOnce(words: Uint32Array): Round {
  const target = new Uint32Array(words.length);
  const last = words.length - 1;
  return {
    run: () => {
      target.set(words);
      return target[last]!;
    },
    after: (answer) => expect(answer, words[last]!, 'the copied word'),
  };
}

/** A pool of tokens, and a prompt to be compared with them once through a block table. */
export class TokenPool {
  readonly #tokens: Uint32Array;
  readonly #prompt: Uint32Array;
  readonly #table: Int32Array;
  readonly #compare: Compare;

  constructor(blocks: number, promptTokens: number) {
    const { memory, compare } = wasmCompare(4 * (blocks * BLOCK_SIZE + 2 * promptTokens));
    this.#prompt = new Uint32Array(memory, 0, promptTokens);
    this.#table = new Int32Array(memory, this.#prompt.byteLength, promptTokens / BLOCK_SIZE);
    const begin = this.#prompt.byteLength + this.#table.byteLength;
    this.#tokens = new Uint32Array(memory, begin, blocks * BLOCK_SIZE);
    this.#compare = compare;
  }

  /** Puts tokens where a block table says. */
  store(ids: Uint32Array, table: Int32Array): void {
    table.forEach((block, i) => {
      const begin = i * BLOCK_SIZE;
      this.#tokens.set(ids.subarray(begin, begin + BLOCK_SIZE), block * BLOCK_SIZE);
    });
  }

  /** The prompt and the table that are compared next. */
  present(ids: Uint32Array, table: Int32Array): void {
    this.#prompt.set(ids);
    this.#table.set(table);
  }

  /** How many of the first `blocks` blocks agree. */
  compare(blocks: number): number {
    const { byteOffset } = this.#tokens;
    return this.#compare(this.#prompt.byteOffset, byteOffset, this.#table.byteOffset, blocks);
  }
}
