/**
 * What of a batch's block table rows is new since the step that was followed last: the sequence at each place of
 * the batch, how many blocks it has, and which of its cells to read again.
 *
 * A row that stayed at its place and was not told of since has not changed. Where steps in between were not
 * followed, what they told of a row is not known: it is read anew, and nothing else is.
 */
import { PagedKvError } from '../errors.js';
import type { Attention, CacheLayout } from '../plan.js';
import { UPDATE_WORDS } from '../words.js';

export const NO_ROW = -1;

export class FollowedRows {
  /** Sequences of the step, and of the one before. */
  batch = 0;
  batchBefore = 0;
  /** By place: the row; −1 where nothing is known of what stands there. */
  readonly rows: Int32Array;
  /** By place: blocks that hold tokens once the step is done, and how many stood there before. */
  readonly blocks: Int32Array;
  readonly blocksBefore: Int32Array;
  /** By place: the cells to copy, from `begin` to `end`; none where these are equal. */
  readonly begin: Int32Array;
  readonly end: Int32Array;
  readonly #blockSize: number;
  /** By place: when the row was told of last, as it was copied. */
  readonly #serials: Uint32Array;
  #serial = 0;
  #hasFollowed = false;

  /** `places`: sequences that a batch may have. */
  constructor({ blockSize }: CacheLayout, places: number) {
    this.#blockSize = blockSize;
    this.rows = new Int32Array(places).fill(NO_ROW);
    this.blocks = new Int32Array(places);
    this.blocksBefore = new Int32Array(places);
    this.begin = new Int32Array(places);
    this.end = new Int32Array(places);
    this.#serials = new Uint32Array(places);
  }

  /** `mostBlocks`: of one sequence. Throws `METADATA_TOO_SMALL`, and has then changed nothing. O(batch). */
  follow(attention: Attention, mostBlocks: number): void {
    this.#check(attention, mostBlocks);
    this.blocksBefore.set(this.blocks);
    this.batchBefore = this.batch;
    this.batch = attention.batch;
    const { tableUpdates } = attention.groups[0]!;
    const isNext = this.#hasFollowed && (this.#serial + 1) >>> 0 === attention.serial;
    let update = 0;
    for (let place = 0; place < attention.batch; place++) {
      const row = attention.rows[place]!;
      const isTold = update < tableUpdates.length && tableUpdates[update] === row;
      this.blocks[place] = this.#blocksAt(attention, place);
      if (this.rows[place] !== row) this.#copy(place, 0, this.blocks[place]!);
      else if (isTold && isNext) this.#copyChanged(place, tableUpdates, update);
      else if (this.#serials[place] === attention.rowSerials[row]) this.#copyMore(place);
      else this.#copy(place, 0, this.blocks[place]!);
      if (isTold) update += UPDATE_WORDS;
      this.rows[place] = row;
      this.#serials[place] = attention.rowSerials[row]!;
    }
    this.rows.fill(NO_ROW, attention.batch);
    this.#serial = attention.serial;
    this.#hasFollowed = true;
  }

  #check({ batch, pastLengths, cumulativeLengths }: Attention, mostBlocks: number): void {
    if (batch > this.rows.length) {
      throw tooSmall(`a batch of ${batch} sequences`, `${this.rows.length}`);
    }
    for (let place = 0; place < batch; place++) {
      const query = cumulativeLengths[place + 1]! - cumulativeLengths[place]!;
      if (pastLengths[place]! + query <= mostBlocks * this.#blockSize) continue;
      throw tooSmall(`a sequence of ${pastLengths[place]! + query} tokens`, `${mostBlocks} blocks`);
    }
  }

  #blocksAt({ pastLengths, cumulativeLengths }: Attention, place: number): number {
    const query = cumulativeLengths[place + 1]! - cumulativeLengths[place]!;
    return Math.ceil((pastLengths[place]! + query) / this.#blockSize);
  }

  #copy(place: number, begin: number, end: number): void {
    this.begin[place] = begin;
    this.end[place] = Math.max(begin, end);
  }

  /** What was told before may lie behind what the sequence had then. */
  #copyMore(place: number): void {
    this.#copy(place, this.blocksBefore[place]!, this.blocks[place]!);
  }

  #copyChanged(place: number, updates: Uint32Array, at: number): void {
    const first = Math.min(updates[at + 1]!, this.blocksBefore[place]!);
    const told = updates[at + 1]! + updates[at + 2]!;
    const blocks = this.blocks[place]!;
    const end = blocks > this.blocksBefore[place]! ? blocks : Math.min(told, blocks);
    this.#copy(place, first, end);
  }
}

export function tooSmall(what: string, room: string): PagedKvError {
  return new PagedKvError('METADATA_TOO_SMALL', `the arrays have room for ${room}, got ${what}`);
}
