/** The arrays that contracts are made of, one array of the caller's each, and how each follows a step. */
import type { Attention } from '../plan.js';
import { ChangedRanges } from './changed.js';
import { tooSmall, type FollowedRows } from './followed-rows.js';

export abstract class Field {
  readonly array: Int32Array;
  readonly changed: ChangedRanges;

  constructor(array: Int32Array, mostRanges = 1) {
    this.array = array;
    this.changed = new ChangedRanges(mostRanges);
  }

  /** How many elements the step takes. */
  abstract lengthFor(attention: Attention): number;
  abstract write(attention: Attention, rows: FollowedRows): void;

  /** Throws `METADATA_TOO_SMALL`. */
  check(attention: Attention): void {
    const length = this.lengthFor(attention);
    if (length <= this.array.length) return;
    throw tooSmall(`${length} elements`, `${this.array.length}`);
  }
}

/** `[batch]`: a number for each sequence. */
abstract class PerSequence extends Field {
  lengthFor({ batch }: Attention): number {
    return batch;
  }

  write(attention: Attention): void {
    for (let i = 0; i < attention.batch; i++) this.array[i] = this.of(attention, i);
    this.changed.add(0, attention.batch);
  }

  protected abstract of(attention: Attention, i: number): number;
}

/** `[batch]`: tokens in memory before the step. */
export class PastLengths extends Field {
  lengthFor({ batch }: Attention): number {
    return batch;
  }

  write({ batch, pastLengths }: Attention): void {
    this.array.set(pastLengths);
    this.changed.add(0, batch);
  }
}

/** Tokens in memory once the step is done. */
export class TotalLengths extends PerSequence {
  protected of(attention: Attention, i: number): number {
    return totalAt(attention, i);
  }
}

/** Tokens in the last block of each sequence, from 1 to the block size. */
export class LastBlockLengths extends PerSequence {
  readonly #blockSize: number;

  constructor(array: Int32Array, blockSize: number) {
    super(array);
    this.#blockSize = blockSize;
  }

  protected of(attention: Attention, i: number): number {
    return ((totalAt(attention, i) - 1) % this.#blockSize) + 1;
  }
}

/** Where in its sequence the first key stands. */
export class KeyOffsets extends PerSequence {
  protected of(): number {
    return 0;
  }
}

/** `[batch + 1]`: where each sequence's query tokens begin. */
export class QueryStarts extends Field {
  lengthFor({ batch }: Attention): number {
    return batch + 1;
  }

  write({ batch, cumulativeLengths }: Attention): void {
    this.array.set(cumulativeLengths);
    this.changed.add(0, batch + 1);
  }
}

/** `[tokens]`: the slot of each query token, −1 for none. */
export class Slots extends Field {
  readonly #group: number;

  constructor(array: Int32Array, group: number) {
    super(array);
    this.#group = group;
  }

  lengthFor({ tokens }: Attention): number {
    return tokens;
  }

  write({ tokens, groups }: Attention): void {
    this.array.set(groups[this.#group]!.slotMapping);
    this.changed.add(0, tokens);
  }
}

/** As `Slots`, each an `int64` in two halves. */
export class WideSlots extends Field {
  readonly #group: number;

  constructor(array: BigInt64Array, group: number) {
    super(new Int32Array(array.buffer, array.byteOffset, 2 * array.length));
    this.#group = group;
  }

  lengthFor({ tokens }: Attention): number {
    return 2 * tokens;
  }

  write({ tokens, groups }: Attention): void {
    const { slotMapping } = groups[this.#group]!;
    for (let i = 0; i < tokens; i++) {
      const slot = slotMapping[i]!;
      this.array[2 * i] = slot;
      this.array[2 * i + 1] = slot >> 31;
    }
    this.changed.add(0, 2 * tokens);
  }
}

/** `[tokens]`: the position of each query token in its sequence. */
export class QueryPositions extends Field {
  lengthFor({ tokens }: Attention): number {
    return tokens;
  }

  write({ batch, tokens, pastLengths, cumulativeLengths }: Attention): void {
    for (let i = 0; i < batch; i++) {
      const first = cumulativeLengths[i]!;
      const end = cumulativeLengths[i + 1]!;
      for (let at = first; at < end; at++) this.array[at] = pastLengths[i]! + at - first;
    }
    this.changed.add(0, tokens);
  }
}

/** `[2]`: the most query tokens of a sequence, and the most tokens once the step is done. */
export class Bounds extends Field {
  lengthFor(): number {
    return 2;
  }

  write(attention: Attention): void {
    const { batch, cumulativeLengths } = attention;
    let mostQueries = 0;
    let longest = 0;
    for (let i = 0; i < batch; i++) {
      mostQueries = Math.max(mostQueries, cumulativeLengths[i + 1]! - cumulativeLengths[i]!);
      longest = Math.max(longest, totalAt(attention, i));
    }
    this.array[0] = mostQueries;
    this.array[1] = longest;
    this.changed.add(0, 2);
  }
}

/** Tokens of a sequence once the step is done. */
export function totalAt({ pastLengths, cumulativeLengths }: Attention, i: number): number {
  return pastLengths[i]! + cumulativeLengths[i + 1]! - cumulativeLengths[i]!;
}
