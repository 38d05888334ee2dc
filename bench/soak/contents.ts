/** Keys and values that follow from a token's whole prefix: written by passes, and read back through block tables. */
import type { HostCache } from '../../src/device/host.js';
import type { KeyRange } from '../../src/index.js';
import { mix } from './mix.js';

/** Of the cache that is soaked. */
export const MODEL = { layers: 2, kvHeads: 1, headDim: 4, dtype: 'f32' } as const;
const WIDTH = MODEL.kvHeads * MODEL.headDim;

/** The tokens of a request, and a print of each: of all that its keys and values follow from. */
export class History {
  readonly tokens: number[] = [];
  readonly #prints: number[] = [];
  readonly #keys: readonly KeyRange[];
  readonly #root: number;

  constructor(namespace: string, keys: readonly KeyRange[]) {
    this.#keys = keys;
    this.#root = textPrint(0x9e3779b9, namespace);
  }

  get length(): number {
    return this.tokens.length;
  }

  append(token: number): void {
    const at = this.tokens.length;
    let print = mix(Math.imul(this.print(at - 1), 31) + token);
    for (const { from, to = Infinity, key } of this.#keys) {
      if (at >= from && at < to) print = textPrint(print, key);
    }
    this.tokens.push(token);
    this.#prints.push(print);
  }

  appendAll(tokens: Iterable<number>): void {
    for (const token of tokens) this.append(token);
  }

  truncate(length: number): void {
    this.tokens.length = length;
    this.#prints.length = length;
  }

  print(position: number): number {
    return position < 0 ? this.#root : this.#prints[position]!;
  }
}

export class Contents {
  readonly #planes: readonly Float32Array[];
  readonly #blockSize: number;
  readonly #rowCells: number;

  constructor(cache: HostCache) {
    const { blockSize, maxBlocksPerSequence, groups } = cache.layout;
    this.#blockSize = blockSize;
    this.#rowCells = maxBlocksPerSequence;
    this.#planes = groups[0]!.planes.map(
      (_, plane) => new Float32Array(cache.plane(0, plane).buffer),
    );
  }

  write(slot: number, print: number): void {
    for (const [plane, values] of this.#planes.entries()) {
      for (let i = 0; i < WIDTH; i++) values[slot * WIDTH + i] = element(print, plane, i);
    }
  }

  /** Throws unless the first `length` tokens read back right: of each one element, which one by its print. */
  check(history: History, length: number, row: number, blockTable: Int32Array): void {
    for (let position = 0; position < length; position++) {
      const cell = row * this.#rowCells + Math.floor(position / this.#blockSize);
      const slot = blockTable[cell]! * this.#blockSize + (position % this.#blockSize);
      const print = history.print(position);
      const plane = print & (this.#planes.length - 1);
      const i = (print >>> 8) & (WIDTH - 1);
      const found = this.#planes[plane]![slot * WIDTH + i];
      if (found === element(print, plane, i)) continue;
      throw new Error(`token ${position} in slot ${slot} of row ${row} is not what was computed`);
    }
  }
}

/** 24 bits, which f32 holds exactly. */
function element(print: number, plane: number, index: number): number {
  return mix(print + plane * WIDTH + index) >>> 8;
}

function textPrint(print: number, text: string): number {
  let next = print;
  for (let i = 0; i < text.length; i++)
    next = mix(Math.imul(next, 31) + text.charCodeAt(i) + 2 ** 20);
  return next;
}
