/**
 * What the workgroups of one step do, as a list that kernels read: an item is some neighbouring query tokens of one
 * sequence and a range of the keys that they see. Long ranges are split, so that a GPU has enough to do at once
 * whatever the batch ("split-K"); the parts are then put together by reductions.
 *
 * An item counts the keys of its range from 0 without those that none of its queries sees: the sinks, then what
 * follows the gap.
 */
import { seenFrom, type Rules } from './visibility.js';

/** The lists of a step, as `attention` has them. */
export interface StepLists {
  readonly batch: number;
  readonly rows: ArrayLike<number>;
  readonly pastLengths: ArrayLike<number>;
  readonly cumulativeLengths: ArrayLike<number>;
}

/** How work is cut, which depends on the shape and the adapter. */
export interface WorkSizes {
  readonly queryHeads: number;
  /** Query tokens of an item, where a sequence has more than one. */
  readonly tileTokens: number;
  /** Workgroups that an item takes. */
  readonly workgroupsPerItem: number;
  /** Workgroups that keep the adapter busy: no more are made by splitting. */
  readonly wantedWorkgroups: number;
  /** Ranges are split into multiples of so many keys. */
  readonly splitKeys: number;
  /** Partial results that there is room for, each of a query token and head. */
  readonly partialRows: number;
}

/** Words of 16 bytes, which kernels read at once. */
export const VECTOR_WORDS = 4;
/** Before the items: window, sinks, chunk, 0; then how many items of each kind and reductions. */
export const HEADER_VECTORS = 2;
/** Row, first token, tokens, position of the first; begin and end of the keys, gap, first partial row. */
export const ITEM_VECTORS = 2;
/** Token, first partial row, rows from one part to the next, parts. */
export const REDUCTION_VECTORS = 1;
/** In place of a partial row: the item has all keys, and its result is the output. */
export const NO_PARTIAL = 0xffffffff;

/** Neighbouring query tokens of a sequence. */
interface Tile {
  readonly row: number;
  /** In the step. */
  readonly token: number;
  readonly tokens: number;
  /** In the sequence. */
  readonly position: number;
  readonly keys: number;
  readonly gap: number;
}

export class Work {
  /** What kernels read, `length` words of it. */
  words = new Uint32Array(1024);
  length = 0;
  /** Items of one query token, which come first; of several; and reductions. */
  singles = 0;
  tiles = 0;
  reductions = 0;

  readonly #rules: Rules;
  readonly #sizes: WorkSizes;
  readonly #reduced: number[] = [];

  constructor(rules: Rules, sizes: WorkSizes) {
    this.#rules = rules;
    this.#sizes = sizes;
  }

  /** O(batch + items). */
  plan(lists: StepLists): void {
    const all = [...this.#tilesOf(lists)];
    const splitKeys = this.#splitKeys(all);
    this.singles = 0;
    this.tiles = 0;
    this.#reduced.length = 0;
    this.length = HEADER_VECTORS * VECTOR_WORDS;
    let partial = 0;
    for (const isSingle of [true, false]) {
      for (const tile of all) {
        if ((tile.tokens === 1) === isSingle) partial = this.#addTile(tile, splitKeys, partial);
      }
    }
    this.#addReductions();
    const { window, sinks, chunk } = this.#rules;
    this.words.set([window, sinks, chunk, 0, this.singles, this.tiles, this.reductions, 0]);
  }

  *#tilesOf({ batch, rows, pastLengths, cumulativeLengths }: StepLists): Generator<Tile> {
    for (let i = 0; i < batch; i++) {
      const begin = cumulativeLengths[i]!;
      const end = cumulativeLengths[i + 1]!;
      for (let token = begin; token < end; token += this.#sizes.tileTokens) {
        const tokens = Math.min(this.#sizes.tileTokens, end - token);
        const position = pastLengths[i]! + token - begin;
        const { sinks, low } = seenFrom(this.#rules, position);
        const gap = low - sinks;
        yield { row: rows[i]!, token, tokens, position, keys: position + tokens - gap, gap };
      }
    }
  }

  /** As few as keep the adapter busy, and as leave room for the partial results. */
  #splitKeys(tiles: readonly Tile[]): number {
    const { workgroupsPerItem, wantedWorkgroups, splitKeys, partialRows } = this.#sizes;
    const keys = tiles.reduce((sum, tile) => sum + tile.keys, 0);
    const fair = (keys * workgroupsPerItem) / wantedWorkgroups;
    let split = Math.max(1, Math.ceil(fair / splitKeys)) * splitKeys;
    while (this.#partialRows(tiles, split) > partialRows) split *= 2;
    return split;
  }

  #partialRows(tiles: readonly Tile[], splitKeys: number): number {
    let rows = 0;
    for (const { keys, tokens } of tiles) {
      if (keys > splitKeys) rows += Math.ceil(keys / splitKeys) * tokens * this.#sizes.queryHeads;
    }
    return rows;
  }

  /** Returns the partial row that is free next. */
  #addTile(tile: Tile, splitKeys: number, partial: number): number {
    const parts = Math.ceil(tile.keys / splitKeys);
    if (parts === 1) {
      this.#addItem(tile, 0, tile.keys, NO_PARTIAL);
      return partial;
    }
    // Equally long, and whole steps of a kernel.
    const step = this.#sizes.splitKeys;
    const length = Math.ceil(tile.keys / parts / step) * step;
    const stride = tile.tokens * this.#sizes.queryHeads;
    let at = partial;
    for (let begin = 0; begin < tile.keys; begin += length, at += stride) {
      this.#addItem(tile, begin, Math.min(tile.keys, begin + length), at);
    }
    const count = (at - partial) / stride;
    for (let t = 0; t < tile.tokens; t++) {
      const first = partial + t * this.#sizes.queryHeads;
      this.#reduced.push(tile.token + t, first, stride, count);
    }
    return at;
  }

  #addItem(tile: Tile, begin: number, end: number, partial: number): void {
    const { row, token, tokens, position, gap } = tile;
    this.#push([row, token, tokens, position, begin, end, gap, partial]);
    if (tokens === 1) this.singles += 1;
    else this.tiles += 1;
  }

  #addReductions(): void {
    this.#push(this.#reduced);
    this.reductions = this.#reduced.length / (REDUCTION_VECTORS * VECTOR_WORDS);
  }

  #push(words: readonly number[]): void {
    const end = this.length + words.length;
    if (end > this.words.length) this.#grow(end);
    this.words.set(words, this.length);
    this.length = end;
  }

  #grow(length: number): void {
    let capacity = this.words.length;
    while (capacity < length) capacity *= 2;
    const words = new Uint32Array(capacity);
    words.set(this.words);
    this.words = words;
  }
}
