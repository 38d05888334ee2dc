/** pagedkv's tables as inputs of `PagedAttention` nodes. One set of them serves every layer. */
import type { Attention, CacheLayout } from '../../src/plan.js';
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

/**
 * The tables of a step. The operator wants one row of the block table for each sequence of the batch, and the
 * largest lengths on the CPU: without them it reads the lengths back from the GPU, once a layer.
 */
export function tableFeeds(attention: Attention, layout: CacheLayout): Record<string, Tensor> {
  const { batch, rows, pastLengths, cumulativeLengths, groups } = attention;
  const { blockSize, maxBlocksPerSequence } = layout;
  let mostTokens = 0;
  let longest = 0;
  for (let i = 0; i < batch; i++) {
    const tokens = cumulativeLengths[i + 1]! - cumulativeLengths[i]!;
    mostTokens = Math.max(mostTokens, tokens);
    longest = Math.max(longest, pastLengths[i]! + tokens);
  }
  const cells = Math.ceil(longest / blockSize);
  const table = new Int32Array(batch * cells);
  rows.forEach((row, i) => {
    const begin = row * maxBlocksPerSequence;
    table.set(groups[0]!.blockTable.subarray(begin, begin + cells), i * cells);
  });
  return {
    cumulativeLengths: ints(cumulativeLengths),
    pastLengths: ints(pastLengths),
    blockTable: ints(table, batch, cells),
    bounds: ints(Int32Array.of(mostTokens, longest)),
  };
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
