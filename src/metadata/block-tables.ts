/** The blocks of each sequence of a batch, as kernels want to find them: in rows of one width, or end to end. */
import type { Attention, CacheLayout } from '../plan.js';
import { Field } from './fields.js';
import type { FollowedRows } from './followed-rows.js';

/** `[batch, width]`: what a sequence has no block for holds the pad value. */
export class DenseBlockTable extends Field {
  readonly #width: number;
  readonly #pad: number;
  readonly #group: number;
  readonly #cells: number;

  /** `pad`: of the cells that belong to no block. */
  constructor(
    array: Int32Array,
    width: number,
    pad: number,
    group: number,
    { maxBlocksPerSequence }: CacheLayout,
  ) {
    super(array, 2 * Math.ceil(array.length / width));
    this.#width = width;
    this.#pad = pad;
    this.#group = group;
    this.#cells = maxBlocksPerSequence;
    array.fill(pad);
    this.changed.add(0, array.length);
  }

  lengthFor({ batch }: Attention): number {
    return batch * this.#width;
  }

  /** O(changed cells). */
  write({ groups }: Attention, rows: FollowedRows): void {
    const { array } = this;
    const { blockTable } = groups[this.#group]!;
    for (let i = 0; i < rows.changes; i++) {
      const place = rows.changed[i]!;
      const to = place * this.#width;
      const from = rows.rows[place]! * this.#cells;
      const begin = rows.begin[place]!;
      const end = rows.end[place]!;
      for (let cell = begin; cell < end; cell++) array[to + cell] = blockTable[from + cell]!;
      this.changed.add(to + begin, to + end);
      const blocks = rows.blocks[place]!;
      const before = rows.blocksBefore[place]!;
      if (blocks >= before) continue;
      array.fill(this.#pad, to + blocks, to + before);
      this.changed.add(to + blocks, to + before);
    }
  }
}

/** `[batch + 1]`: where in the list of blocks each sequence's begin. */
export class BlockStarts extends Field {
  lengthFor({ batch }: Attention): number {
    return batch + 1;
  }

  write({ batch }: Attention, { blocks }: FollowedRows): void {
    let start = 0;
    for (let place = 0; place < batch; place++) {
      this.array[place] = start;
      start += blocks[place]!;
    }
    this.array[batch] = start;
    this.changed.add(0, batch + 1);
  }
}

/**
 * All sequences' blocks end to end. A block more in one moves all that follow: what stays is moved as it is, and
 * only what changed is read from the tables.
 */
export class BlockList extends Field {
  readonly #group: number;
  readonly #blockSize: number;
  readonly #cells: number;
  /** By place: where its blocks began, and begin. */
  #before: Int32Array;
  #starts: Int32Array;

  constructor(
    array: Int32Array,
    places: number,
    group: number,
    { blockSize, maxBlocksPerSequence }: CacheLayout,
  ) {
    super(array, 2 * places);
    this.#group = group;
    this.#blockSize = blockSize;
    this.#cells = maxBlocksPerSequence;
    this.#before = new Int32Array(places + 1);
    this.#starts = new Int32Array(places + 1);
  }

  lengthFor({ batch, pastLengths, cumulativeLengths }: Attention): number {
    let blocks = 0;
    for (let i = 0; i < batch; i++) {
      const query = cumulativeLengths[i + 1]! - cumulativeLengths[i]!;
      blocks += Math.ceil((pastLengths[i]! + query) / this.#blockSize);
    }
    return blocks;
  }

  /** O(batch + changed cells + blocks that move). */
  write({ groups }: Attention, rows: FollowedRows): void {
    const { blockTable } = groups[this.#group]!;
    this.#placeAll(rows);
    this.#moveDown(rows);
    this.#moveUp(rows);
    for (let i = 0; i < rows.changes; i++) {
      const place = rows.changed[i]!;
      const to = this.#starts[place]!;
      const from = rows.rows[place]! * this.#cells;
      const end = rows.end[place]!;
      for (let cell = rows.begin[place]!; cell < end; cell++) {
        this.array[to + cell] = blockTable[from + cell]!;
      }
      this.changed.add(to + rows.begin[place]!, to + end);
    }
  }

  #placeAll({ batch, blocks }: FollowedRows): void {
    const starts = this.#before;
    this.#before = this.#starts;
    this.#starts = starts;
    starts[0] = 0;
    for (let place = 0; place < batch; place++) starts[place + 1] = starts[place]! + blocks[place]!;
  }

  /** Leading blocks of a place that are what they were, but for those that are copied. */
  #kept({ begin, end, blocks, blocksBefore }: FollowedRows, place: number): number {
    const isNew = begin[place] === 0 && end[place] === blocks[place];
    return isNew ? 0 : Math.min(blocks[place]!, blocksBefore[place]!);
  }

  /** What moves towards the front, from the front: nothing that is still to move is overwritten. */
  #moveDown(rows: FollowedRows): void {
    for (let first = 0, end; first < rows.batch; first = end) {
      end = first + 1;
      const shift = this.#shift(first);
      if (shift >= 0) continue;
      while (end < rows.batch && this.#goesOn(rows, end - 1, shift)) end++;
      this.#move(rows, first, end);
    }
  }

  /** What moves towards the end, from the end. */
  #moveUp(rows: FollowedRows): void {
    for (let end = rows.batch, first; end > 0; end = first) {
      first = end - 1;
      const shift = this.#shift(first);
      if (shift <= 0) continue;
      while (first > 0 && this.#goesOn(rows, first - 1, shift)) first--;
      this.#move(rows, first, end);
    }
  }

  #shift(place: number): number {
    return this.#starts[place]! - this.#before[place]!;
  }

  /** Whether a place and the next one move as one piece, by `shift`. */
  #goesOn(rows: FollowedRows, place: number, shift: number): boolean {
    const isWhole = this.#kept(rows, place) === rows.blocks[place];
    return isWhole && this.#shift(place) === shift && this.#shift(place + 1) === shift;
  }

  #move(rows: FollowedRows, first: number, end: number): void {
    const from = this.#before[first]!;
    const length = this.#before[end - 1]! + this.#kept(rows, end - 1) - from;
    if (length <= 0) return;
    const to = this.#starts[first]!;
    this.array.copyWithin(to, from, from + length);
    this.changed.add(to, to + length);
  }
}
