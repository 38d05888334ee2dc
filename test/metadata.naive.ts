/** What each contract says of a step, computed anew from its tables and nothing else. */
import type { Attention, CacheLayout } from '../src/plan.js';

export interface Room {
  readonly places: number;
  readonly width: number;
  readonly tokens: number;
}

export class Naive {
  readonly #attention: Attention;
  readonly #layout: CacheLayout;

  constructor(attention: Attention, layout: CacheLayout) {
    this.#attention = attention;
    this.#layout = layout;
  }

  get past(): number[] {
    return [...this.#attention.pastLengths];
  }

  get totals(): number[] {
    const { cumulativeLengths: starts } = this.#attention;
    return this.past.map((past, i) => past + starts[i + 1]! - starts[i]!);
  }

  get bounds(): number[] {
    const queries = this.totals.map((total, i) => total - this.past[i]!);
    return [Math.max(...queries), Math.max(...this.totals)];
  }

  get starts(): number[] {
    return [...this.#attention.cumulativeLengths];
  }

  get blocks(): number[][] {
    const { rows, groups } = this.#attention;
    const { maxBlocksPerSequence: width, blockSize } = this.#layout;
    return this.totals.map((total, i) => {
      const begin = rows[i]! * width;
      return [...groups[0]!.blockTable.subarray(begin, begin + Math.ceil(total / blockSize))];
    });
  }

  table(width: number, pad: number): number[] {
    return this.blocks.flatMap((blocks) => [
      ...blocks,
      ...Array<number>(width - blocks.length).fill(pad),
    ]);
  }

  get blockStarts(): number[] {
    const starts = [0];
    for (const blocks of this.blocks) starts.push(starts.at(-1)! + blocks.length);
    return starts;
  }

  get lastLengths(): number[] {
    const { blockSize } = this.#layout;
    return this.totals.map((total, i) => total - (this.blocks[i]!.length - 1) * blockSize);
  }

  get positions(): number[] {
    return this.totals.flatMap((total, i) => {
      const past = this.past[i]!;
      return Array.from({ length: total - past }, (_, at) => past + at);
    });
  }

  get slots(): number[] {
    return [...this.#attention.groups[0]!.slotMapping];
  }
}
