/**
 * The arrays of a step, as views of the memory that the core writes them to. There is one set for each step
 * that may be open, and each view is made once a length: a decode loop makes none.
 */
import type { Core } from './core.js';
import type { Attention, GroupTables, Moves } from './plan.js';
import { COPY_WORDS, HOST_HIT_WORDS, MOVE_WORDS, UPDATE_WORDS } from './words.js';

/** Words of a step's header: `StepWord` of `native/core/shared_memory.h`. */
const Header = {
  generation: 0,
  batch: 1,
  tokens: 2,
  offloads: 3,
  onboards: 4,
  copies: 5,
  updates: 6,
  hostHits: 7,
  serial: 8,
} as const;

/** Views are kept up to this length; of longer ones only the last. */
const MAX_KEPT_LENGTH = 1024;

/** The leading parts of one array. */
class Prefixes<View extends Uint32Array | Int32Array> {
  readonly #make: (length: number) => View;
  readonly #kept: (View | undefined)[] = [];
  #last: View;

  constructor(memory: View, begin: number) {
    this.#make = (length) => memory.subarray(begin, begin + length) as View;
    this.#last = this.#make(0);
  }

  of(length: number): View {
    if (this.#last.length === length) return this.#last;
    const view = this.#kept[length] ?? this.#make(length);
    if (length <= MAX_KEPT_LENGTH) this.#kept[length] = view;
    this.#last = view;
    return view;
  }
}

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

export class StepViews {
  readonly #core: Core;
  readonly #begin: number;
  readonly #rows: Prefixes<Uint32Array>;
  readonly #past: Prefixes<Int32Array>;
  readonly #cumulative: Prefixes<Int32Array>;
  readonly #skipped: Prefixes<Uint32Array>;
  readonly #updates: Prefixes<Uint32Array>;
  readonly #slots: readonly Prefixes<Int32Array>[];
  readonly #offloads: Prefixes<Uint32Array>;
  readonly #onboards: Prefixes<Uint32Array>;
  readonly #copies: Prefixes<Uint32Array>;
  readonly #hostHits: Prefixes<Uint32Array>;
  readonly #groups: readonly Mutable<GroupTables>[];
  readonly #attention: Mutable<Attention>;
  readonly #moves: Mutable<Moves>;

  constructor(core: Core, slot: number) {
    const { words, ints, offsets: at, config } = core;
    const begin = at.steps + slot * at.stepWords;
    this.#core = core;
    this.#begin = begin;
    this.#rows = new Prefixes(words, begin + at.stepRows);
    this.#past = new Prefixes(ints, begin + at.stepPast);
    this.#cumulative = new Prefixes(ints, begin + at.stepCumulative);
    this.#skipped = new Prefixes(words, begin + at.stepSkipped);
    this.#updates = new Prefixes(words, begin + at.stepUpdates);
    this.#offloads = new Prefixes(words, begin + at.stepOffloads);
    this.#onboards = new Prefixes(words, begin + at.stepOnboards);
    this.#copies = new Prefixes(words, begin + at.stepCopies);
    this.#hostHits = new Prefixes(words, begin + at.stepHostHits);
    this.#slots = config.groups.map(
      (_, group) => new Prefixes(ints, begin + at.stepSlots + group * config.maxBatchTokens),
    );
    this.#groups = this.#slots.map((slots, group) => ({
      blockTable: blockTable(core, group),
      tableUpdates: this.#updates.of(0),
      slotMapping: slots.of(0),
    }));
    this.#attention = {
      batch: 0,
      tokens: 0,
      serial: 0,
      rowSerials: rowSerials(core),
      rows: this.#rows.of(0),
      pastLengths: this.#past.of(0),
      cumulativeLengths: this.#cumulative.of(0),
      skipped: this.#skipped.of(0),
      groups: this.#groups,
    };
    this.#moves = {
      offloads: this.#offloads.of(0),
      onboards: this.#onboards.of(0),
      copies: this.#copies.of(0),
    };
  }

  /** Whether the step of this generation is the one whose arrays stand here, and open. */
  isOpen(generation: number): boolean {
    return this.#core.words[this.#begin + Header.generation] === generation;
  }

  /** Of the step that is open: the same object each time. O(groups). */
  attention(): Attention {
    const batch = this.#header(Header.batch);
    const tokens = this.#header(Header.tokens);
    const updates = this.#updates.of(this.#header(Header.updates) * UPDATE_WORDS);
    for (let group = 0; group < this.#groups.length; group++) {
      const tables = this.#groups[group]!;
      tables.tableUpdates = updates;
      tables.slotMapping = this.#slots[group]!.of(tokens);
    }
    const attention = this.#attention;
    attention.batch = batch;
    attention.tokens = tokens;
    attention.serial = this.#header(Header.serial);
    attention.rows = this.#rows.of(batch);
    attention.pastLengths = this.#past.of(batch);
    attention.cumulativeLengths = this.#cumulative.of(batch + 1);
    attention.skipped = this.#skipped.of(batch);
    return attention;
  }

  /** As `attention`. */
  moves(): Moves {
    const moves = this.#moves;
    moves.offloads = this.#offloads.of(this.#header(Header.offloads) * MOVE_WORDS);
    moves.onboards = this.#onboards.of(this.#header(Header.onboards) * MOVE_WORDS);
    moves.copies = this.#copies.of(this.#header(Header.copies) * COPY_WORDS);
    return moves;
  }

  hostHits(): Uint32Array {
    return this.#hostHits.of(this.#header(Header.hostHits) * HOST_HIT_WORDS);
  }

  #header(word: number): number {
    return this.#core.words[this.#begin + word]!;
  }
}

function rowSerials({ words, offsets, config }: Core): Uint32Array {
  return words.subarray(offsets.rowSerials, offsets.rowSerials + config.maxSequences);
}

function blockTable({ ints, offsets, config }: Core, group: number): Int32Array {
  const cells = config.maxSequences * Math.ceil(config.maxSequenceTokens / config.blockSize);
  const begin = offsets.blockTables + group * cells;
  return ints.subarray(begin, begin + cells);
}
