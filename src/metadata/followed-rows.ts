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
  /** Sequences of the step. */
  batch = 0;
  /** By place: the row; −1 where nothing is known of what stands there. */
  readonly rows: Int32Array;
  /** By place: blocks that hold tokens once the step is done, and how many stood there before. */
  readonly blocks: Int32Array;
  readonly blocksBefore: Int32Array;
  /** By place: the cells to copy, from `begin` to `end`; none where these are equal. */
  readonly begin: Int32Array;
  readonly end: Int32Array;
  /** The places where cells or the number of blocks changed, ascending: the first `changes` count. */
  readonly changed: Int32Array;
  changes = 0;
  readonly #blockSize: number;
  /** By place: tokens once the step is done. */
  readonly #totals: Int32Array;
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
    this.changed = new Int32Array(places);
    this.#totals = new Int32Array(places);
    this.#serials = new Uint32Array(places);
  }

  /** `mostBlocks`: of one sequence. Throws `METADATA_TOO_SMALL`, and has then changed nothing. O(batch). */
  follow(attention: Attention, mostBlocks: number): void {
    this.#check(attention, mostBlocks);
    this.#settle();
    // Of what most places need, nothing is read twice.
    const { batch, rows, rowSerials } = attention;
    const { rows: known, blocks } = this;
    const totals = this.#totals;
    const serials = this.#serials;
    const blockSize = this.#blockSize;
    const { tableUpdates } = attention.groups[0]!;
    const isNext = this.#hasFollowed && (this.#serial + 1) >>> 0 === attention.serial;
    let update = 0;
    for (let place = 0; place < batch; place++) {
      const row = rows[place]!;
      const serial = rowSerials[row]!;
      const room = blocks[place]! * blockSize;
      const total = totals[place]!;
      const isSame = known[place] === row && serials[place] === serial;
      if (isSame && total <= room && total > room - blockSize) continue;

      const isTold = update < tableUpdates.length && tableUpdates[update] === row;
      this.#note(place, Math.ceil(total / blockSize));
      if (isSame) this.#copyMore(place);
      else if (known[place] === row && isTold && isNext)
        this.#copyTold(place, tableUpdates, update);
      else this.end[place] = blocks[place]!;
      if (isTold) update += UPDATE_WORDS;
      known[place] = row;
      serials[place] = serial;
    }
    known.fill(NO_ROW, batch);
    this.batch = batch;
    this.#serial = attention.serial;
    this.#hasFollowed = true;
  }

  #check({ batch, pastLengths, cumulativeLengths }: Attention, mostBlocks: number): void {
    if (batch > this.rows.length) {
      throw tooSmall(`a batch of ${batch} sequences`, `${this.rows.length}`);
    }
    const totals = this.#totals;
    let most = 0;
    let start = 0;
    for (let place = 0; place < batch; place++) {
      const end = cumulativeLengths[place + 1]!;
      const total = pastLengths[place]! + end - start;
      start = end;
      totals[place] = total;
      if (total > most) most = total;
    }
    if (most <= mostBlocks * this.#blockSize) return;
    throw tooSmall(`a sequence of ${most} tokens`, `${mostBlocks} blocks`);
  }

  /** What the last step changed is so now. */
  #settle(): void {
    for (let i = 0; i < this.changes; i++) {
      const place = this.changed[i]!;
      this.blocksBefore[place] = this.blocks[place]!;
      this.begin[place] = this.end[place] = 0;
    }
    this.changes = 0;
  }

  #note(place: number, blocks: number): void {
    this.blocks[place] = blocks;
    this.changed[this.changes++] = place;
  }

  /** What was told before may lie behind what the sequence had then. */
  #copyMore(place: number): void {
    this.begin[place] = Math.min(this.blocksBefore[place]!, this.blocks[place]!);
    this.end[place] = this.blocks[place]!;
  }

  #copyTold(place: number, updates: Uint32Array, at: number): void {
    const blocks = this.blocks[place]!;
    const before = this.blocksBefore[place]!;
    const told = updates[at + 1]! + updates[at + 2]!;
    this.begin[place] = Math.min(updates[at + 1]!, before, blocks);
    this.end[place] = blocks > before ? blocks : Math.min(told, blocks);
  }
}

export function tooSmall(what: string, room: string): PagedKvError {
  return new PagedKvError('METADATA_TOO_SMALL', `the arrays have room for ${room}, got ${what}`);
}
