/** pagedkv's tables as inputs of `PagedAttention` nodes. One set of them serves every layer. */
import type { Attention, KvCacheManager } from '../../src/index.js';
import {
  pagedAttentionMetadata,
  type Metadata,
  type PagedAttentionArrays,
} from '../../src/metadata/index.js';
import type { Graph } from './graph.js';
import { ints, type Tensor } from './runtime.js';

/** Names of inputs. */
export interface Tables {
  readonly cumulativeLengths: string;
  readonly pastLengths: string;
  readonly blockTable: string;
  readonly bounds: string;
}

export function addTableInputs(graph: Graph): Tables {
  return {
    cumulativeLengths: graph.input('cumulativeLengths', 'int32', ['ends']),
    pastLengths: graph.input('pastLengths', 'int32', ['batch']),
    blockTable: graph.input('blockTable', 'int32', ['batch', 'cells']),
    bounds: graph.input('bounds', 'int32', [2]),
  };
}

/** What a `PagedAttention` node takes; all but the numbers are names of values. */
export interface PagedAttentionParts {
  /** `[tokens, heads * headDim]`; keys and values `[tokens, kvHeads * headDim]`. */
  readonly queries: string;
  readonly keys: string;
  readonly values: string;
  /** `[blocks, blockSize, kvHeads, headDim]`: written in place. */
  readonly keyPlane: string;
  readonly valuePlane: string;
  readonly tables: Tables;
  /** Cosines and sines; where they are absent nothing is rotated. */
  readonly rope?: readonly [string, string];
  readonly heads: number;
  readonly kvHeads: number;
}

/**
 * Returns the name of what is attended, `[tokens, heads * headDim]`. The node has outputs for the planes too:
 * left out, it writes to its inputs, and copies nothing.
 */
export function pagedAttention(graph: Graph, parts: PagedAttentionParts): string {
  const { queries, keys, values, keyPlane, valuePlane, tables, rope } = parts;
  const { cumulativeLengths, pastLengths, blockTable, bounds } = tables;
  const unused = ['', '', '', '', '', ''];
  const inputs = [
    ...[queries, keys, values, keyPlane, valuePlane],
    ...[cumulativeLengths, pastLengths, blockTable],
    ...(rope ?? ['', '']),
    ...unused,
    bounds,
  ];
  return graph.node('PagedAttention', inputs, {
    num_heads: parts.heads,
    kv_num_heads: parts.kvHeads,
    do_rotary: rope ? 1 : 0,
  });
}

/** The tables of a step as feeds. pagedkv keeps the arrays up to date: from step to step little of them changes. */
export class StepTables {
  readonly #arrays: Required<Omit<PagedAttentionArrays, 'slotMapping'>>;
  readonly #metadata: Metadata<keyof PagedAttentionArrays>;
  readonly #width: number;

  constructor(kv: KvCacheManager) {
    const { maxSequences, maxBlocksPerSequence } = kv.layout;
    this.#width = maxBlocksPerSequence;
    this.#arrays = {
      blockTable: new Int32Array(maxSequences * maxBlocksPerSequence),
      cumulativeSequenceLength: new Int32Array(maxSequences + 1),
      pastSeqlens: new Int32Array(maxSequences),
      attentionMetadata: new Int32Array(2),
    };
    this.#metadata = pagedAttentionMetadata(kv, this.#arrays);
  }

  /** Overwritten by the next step's. */
  feeds(attention: Attention): Record<string, Tensor> {
    this.#metadata.update(attention);
    const { batch } = attention;
    const { blockTable, cumulativeSequenceLength, pastSeqlens, attentionMetadata } = this.#arrays;
    return {
      cumulativeLengths: ints(cumulativeSequenceLength.subarray(0, batch + 1)),
      pastLengths: ints(pastSeqlens.subarray(0, batch)),
      blockTable: ints(blockTable.subarray(0, batch * this.#width), batch, this.#width),
      bounds: ints(attentionMetadata),
    };
  }
}

/** Tables by which every block in `blocks` is written from its first slot to its last. */
export function tablesOfBlocks(blocks: Int32Array, blockSize: number): Record<string, Tensor> {
  const { length } = blocks;
  return {
    cumulativeLengths: ints(Int32Array.from({ length: length + 1 }, (_, i) => i * blockSize)),
    pastLengths: ints(new Int32Array(length)),
    blockTable: ints(blocks, length, 1),
    bounds: ints(Int32Array.of(blockSize, blockSize)),
  };
}
