/** Ragged batches over paged memory, laid out at random, with what they must come to. */
import { fromHalf, toHalf } from '../src/attention/half.js';
import type { Attention, CacheLayout, ModelShape } from '../src/plan.js';
import { naiveAttention } from './attention.naive.js';
import { modelLayout } from './device.fakes.js';
import { Random } from './device.random.js';

export interface CaseShape {
  headDim: number;
  kvHeads: number;
  queryHeads: number;
  blockSize: number;
  dtype: 'f32' | 'f16';
  /** By sequence: tokens in memory before the step, and query tokens of the step. */
  sequences: readonly (readonly [past: number, queries: number])[];
}

interface Sequence {
  past: number;
  queries: number;
  /** `[past + queries, kvHeads, headDim]`, as precise as the memory. */
  key: Float32Array;
  value: Float32Array;
  query: Float32Array;
  blocks: number[];
}

/** The layer that the cases attend in: not the first, so that mixing layers up shows. */
export const LAYER = 1;

export class AttentionCase {
  readonly shape: CaseShape;
  readonly layout: CacheLayout;
  readonly sequences: readonly Sequence[];
  readonly #table: Int32Array;
  readonly #rows: number[];

  constructor(shape: CaseShape) {
    // Its own stream, so that a case is the same when it is run alone.
    const random = new Random(nameOf(shape));
    this.shape = shape;
    const lengths = shape.sequences.map(([past, queries]) => past + queries);
    const blocks = lengths.map((length) => Math.ceil(length / shape.blockSize));
    const total = blocks.reduce((a, b) => a + b, 0);
    this.layout = modelLayout(modelOf(shape), {
      blockSize: shape.blockSize,
      deviceBlocks: total + 2,
      maxSequences: shape.sequences.length + 3,
      maxBlocksPerSequence: Math.max(...blocks) + 1,
    });
    const free = random.permutation(total + 2);
    this.sequences = shape.sequences.map(([past, queries], i) =>
      this.#sequence(random, past, queries, free.splice(0, blocks[i])),
    );
    this.#rows = random.permutation(this.layout.maxSequences).slice(0, shape.sequences.length);
    this.#table = this.#blockTable();
  }

  /** Lets sequence `to` hold the leading `blocks` blocks of `from`, same tokens, as after a fork. */
  share(from: number, to: number, blocks: number): void {
    const [source, target] = [this.sequences[from]!, this.sequences[to]!];
    const elements = blocks * this.shape.blockSize * this.shape.kvHeads * this.shape.headDim;
    target.key.set(source.key.subarray(0, elements));
    target.value.set(source.value.subarray(0, elements));
    target.blocks.splice(0, blocks, ...source.blocks.slice(0, blocks));
    this.#table.set(this.#blockTable());
  }

  /** The step that computes what the sequences had in memory before. */
  get before(): Attention {
    return this.#step(
      () => 0,
      (sequence) => sequence.past,
    );
  }

  /** The step in question. */
  get step(): Attention {
    return this.#step(
      (sequence) => sequence.past,
      (sequence) => sequence.queries,
    );
  }

  /** Keys or values of the step `before`, end to end. */
  past(what: 'key' | 'value'): Float32Array<ArrayBuffer> {
    return concat(this.sequences.map((each) => each[what].subarray(0, this.#at(each.past))));
  }

  /** Keys or values of the step in question, end to end. */
  fresh(what: 'key' | 'value'): Float32Array<ArrayBuffer> {
    return concat(this.sequences.map((each) => each[what].subarray(this.#at(each.past))));
  }

  get query(): Float32Array<ArrayBuffer> {
    return concat(this.sequences.map((each) => each.query));
  }

  /** What attention must come to, `[tokens, queryHeads, headDim]`. */
  get expected(): Float64Array {
    const outputs = this.sequences.map(({ key, value, query }) =>
      naiveAttention(this.shape, key, value, query),
    );
    return Float64Array.from(outputs.flatMap((output) => [...output]));
  }

  #at(token: number): number {
    return token * this.shape.kvHeads * this.shape.headDim;
  }

  #sequence(random: Random, past: number, queries: number, blocks: number[]): Sequence {
    const { headDim, queryHeads } = this.shape;
    const precise = (values: Float32Array): Float32Array =>
      this.shape.dtype === 'f32' ? values : values.map((value) => fromHalf(toHalf(value)));
    return {
      past,
      queries,
      blocks,
      key: precise(random.floats(this.#at(past + queries))),
      value: precise(random.floats(this.#at(past + queries))),
      query: precise(random.floats(queries * queryHeads * headDim, 2)),
    };
  }

  /** Cells that no sequence has filled are wild, as they are after others have used the row. */
  #blockTable(): Int32Array {
    const { maxSequences, maxBlocksPerSequence } = this.layout;
    const table = new Int32Array(maxSequences * maxBlocksPerSequence).fill(0x7fffffff);
    for (const [i, { blocks }] of this.sequences.entries()) {
      table.set(blocks, this.#rows[i]! * maxBlocksPerSequence);
    }
    return table;
  }

  #step(pastOf: (s: Sequence) => number, queriesOf: (s: Sequence) => number): Attention {
    const slots: number[] = [];
    const cumulative = [0];
    const written = new Set<number>();
    for (const sequence of this.sequences) {
      for (let t = 0; t < queriesOf(sequence); t++) {
        const slot = this.#slot(sequence, pastOf(sequence) + t);
        // A shared block is written once: for the others these tokens are in memory already.
        slots.push(written.has(slot) ? -1 : slot);
        written.add(slot);
      }
      cumulative.push(slots.length);
    }
    const { maxSequences, maxBlocksPerSequence } = this.layout;
    return {
      batch: this.sequences.length,
      tokens: slots.length,
      rows: Uint32Array.from(this.#rows),
      pastLengths: Int32Array.from(this.sequences, pastOf),
      cumulativeLengths: Int32Array.from(cumulative),
      skipped: new Uint32Array(this.sequences.length),
      serial: 1,
      rowSerials: new Uint32Array(this.sequences.length),
      groups: [
        {
          blockTable: this.#table,
          tableUpdates: Uint32Array.from(
            Array.from({ length: maxSequences }, (_, row) => [row, 0, maxBlocksPerSequence]).flat(),
          ),
          slotMapping: Int32Array.from(slots),
        },
      ],
    };
  }

  #slot({ blocks }: Sequence, position: number): number {
    const { blockSize } = this.shape;
    return blocks[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
  }
}

function modelOf({ kvHeads, headDim, dtype }: CaseShape): ModelShape {
  return { layers: 2, kvHeads, headDim, dtype };
}

function concat(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

/** Shapes that cover every block size and head length at least once, and batches of every mix. */
export function shapes(random: Random, dtype: 'f32' | 'f16'): CaseShape[] {
  const headDims = [64, 80, 96, 128, 16, 256, 6];
  const blockSizes = [8, 16, 32, 64, 128, 256, 1, 24];
  const kvHeads = [1, 2, 4];
  return blockSizes.map((blockSize, i) => {
    const kv = random.pick(kvHeads);
    return {
      headDim: headDims[i % headDims.length]!,
      kvHeads: kv,
      queryHeads: kv * random.pick([1, 2, 3, 4]),
      blockSize,
      dtype,
      sequences: sequences(random),
    };
  });
}

function sequences(random: Random): [number, number][] {
  const decode = (): [number, number] => [random.integer(1, 300), 1];
  const prefill = (): [number, number] => [0, random.integer(1, 24)];
  const chunk = (): [number, number] => [random.integer(1, 150), random.integer(2, 16)];
  const count = random.integer(1, 4);
  return Array.from({ length: count }, () => random.pick([decode, prefill, chunk])());
}

export function nameOf(shape: CaseShape): string {
  const { headDim, kvHeads, queryHeads, blockSize, dtype } = shape;
  const batch = shape.sequences.map(([past, queries]) => `${past}+${queries}`).join(' ');
  return `${dtype}, heads ${queryHeads}/${kvHeads} of ${headDim}, blocks of ${blockSize}, batch ${batch}`;
}
