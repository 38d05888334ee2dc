/**
 * Which blocks somebody is still to fill: what reads one of them waits. A mark is the number of an execution;
 * that of one which has ended means nothing, so that marks need not be taken back.
 */
import type { Attention, CacheLayout, Moves } from '../plan.js';
import { COPY_WORDS, MOVE_WORDS, UPDATE_WORDS } from '../words.js';

/** Who fills blocks: those of the device are there for what is submitted next, those of the host at the end. */
interface Filler {
  readonly submitted: { readonly promise: Promise<void> };
  readonly ended: { readonly promise: Promise<void> };
}

/** By group, then block. */
type Marks = readonly Uint32Array[];

export class BlocksUnderWay {
  readonly #layout: CacheLayout;
  readonly #device: Marks;
  readonly #host: Marks;
  readonly #fillers = new Map<number, Filler>();
  #last = 0;

  constructor(layout: CacheLayout) {
    this.#layout = layout;
    this.#device = layout.groups.map((group) => new Uint32Array(group.deviceBlocks));
    this.#host = layout.groups.map((group) => new Uint32Array(group.hostBlocks));
  }

  get isEmpty(): boolean {
    return this.#fillers.size === 0;
  }

  /** What must come first: the moves, and the block tables as they were changed, read it. O(moves + changed cells). */
  awaitedBy({ offloads, onboards, copies }: Moves, attention?: Attention): Set<Promise<void>> {
    const found = new Set<Promise<void>>();
    if (this.isEmpty) return found;
    this.#collect(this.#host, onboards, MOVE_WORDS, 'ended', found);
    this.#collect(this.#device, offloads, MOVE_WORDS, 'submitted', found);
    this.#collect(this.#device, copies, COPY_WORDS, 'submitted', found);
    if (attention !== undefined) this.#collectNamed(attention, found);
    return found;
  }

  /** Marks what the moves fill, until `end` is called with the number returned. O(moves). */
  begin(filler: Filler, { offloads, onboards, copies }: Moves): number {
    this.#last = (this.#last % 0xffff_ffff) + 1;
    this.#fillers.set(this.#last, filler);
    this.#mark(this.#host, offloads, MOVE_WORDS);
    this.#mark(this.#device, onboards, MOVE_WORDS);
    this.#mark(this.#device, copies, COPY_WORDS);
    return this.#last;
  }

  /** Whether the execution of that number brings back what it offloads itself. O(onboards). */
  readsOwn(number: number, { onboards }: Moves): boolean {
    for (let at = 0; at < onboards.length; at += MOVE_WORDS) {
      if (this.#host[onboards[at]!]?.[onboards[at + 1]!] === number) return true;
    }
    return false;
  }

  end(number: number): void {
    this.#fillers.delete(number);
  }

  #mark(marks: Marks, records: Uint32Array, stride: number): void {
    for (let at = 0; at < records.length; at += stride) {
      const group = marks[records[at]!];
      if (group !== undefined) group[records[at + 2]!] = this.#last;
    }
  }

  #collect(
    marks: Marks,
    records: Uint32Array,
    stride: number,
    when: keyof Filler,
    found: Set<Promise<void>>,
  ): void {
    for (let at = 0; at < records.length; at += stride) {
      this.#add(marks[records[at]!]?.[records[at + 1]!], when, found);
    }
  }

  /** A cell that was not changed was waited for by the step that changed it. */
  #collectNamed(attention: Attention, found: Set<Promise<void>>): void {
    for (const [g, { blockTable, tableUpdates }] of attention.groups.entries()) {
      for (let at = 0; at < tableUpdates.length; at += UPDATE_WORDS) {
        const row = tableUpdates[at]! * this.#layout.maxBlocksPerSequence;
        const first = row + tableUpdates[at + 1]!;
        const end = first + tableUpdates[at + 2]!;
        for (let cell = first; cell < end; cell++) {
          this.#add(this.#device[g]![blockTable[cell]!], 'submitted', found);
        }
      }
    }
  }

  #add(mark: number | undefined, when: keyof Filler, found: Set<Promise<void>>): void {
    const filler = mark === undefined ? undefined : this.#fillers.get(mark);
    if (filler !== undefined) found.add(filler[when].promise);
  }
}
