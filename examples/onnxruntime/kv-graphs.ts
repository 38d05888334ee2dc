/**
 * The small graphs that move blocks. `PagedAttention` is the one operator that writes to a tensor it is given, so
 * it does the moving too: each block is written as a sequence of its own, one block long, whose block table says
 * where it goes. Any other operator would make a whole plane anew.
 */
import type { CacheLayout } from '../../src/index.js';
import { Graph } from './graph.js';
import { addTableInputs, pagedAttention } from './tables.js';

/** One block of one plane, in the layout that `PagedAttention` takes. */
export interface BlockShape {
  readonly layers: number;
  readonly blockSize: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Names of inputs, by layer. */
export interface PlaneInputs {
  readonly keys: readonly string[];
  readonly values: readonly string[];
}

/** Of a manager with one cache group, made with a model in f16: no other is laid out for the operator. */
export function blockShape({ blockSize, groups, model }: CacheLayout): BlockShape {
  if (groups.length !== 1 || model?.dtype !== 'f16') {
    throw new Error('PagedAttention on WebGPU takes one cache group of keys and values in f16');
  }
  const { layers, kvHeads, headDim } = model;
  return { layers, blockSize, kvHeads, headDim };
}

/** Elements of a block. */
export function blockElements({ blockSize, kvHeads, headDim }: BlockShape): number {
  return blockSize * kvHeads * headDim;
}

export function planeNames(layers: number, kind: 'key' | 'value'): string[] {
  return Array.from({ length: layers }, (_, layer) => `${kind}.${layer}`);
}

/** The name of blocks that are gathered from a plane or scattered into it. */
export function blocksOf(plane: string): string {
  return `${plane}.blocks`;
}

/** The planes as inputs of a graph, each `[blocks, blockSize, kvHeads, headDim]`. */
export function addPlaneInputs(graph: Graph, shape: BlockShape): PlaneInputs {
  const dims = ['blocks', shape.blockSize, shape.kvHeads, shape.headDim];
  const add = (kind: 'key' | 'value'): string[] =>
    planeNames(shape.layers, kind).map((name) => graph.input(name, 'float16', dims));
  return { keys: add('key'), values: add('value') };
}

/** A plane that is on the CPU, to the GPU. */
export function uploadGraph(shape: BlockShape): Uint8Array {
  const graph = new Graph();
  const dims = ['blocks', shape.blockSize, shape.kvHeads, shape.headDim];
  graph.output('plane', graph.input('data', 'float16', dims), dims);
  return graph.encode();
}

/** The blocks `from` of every plane: `[moved, blockSize, kvHeads, headDim]`. */
export function gatherGraph(shape: BlockShape): Uint8Array {
  const graph = new Graph();
  const from = graph.input('from', 'int32', ['moved']);
  const { keys, values } = addPlaneInputs(graph, shape);
  for (const plane of [...keys, ...values]) {
    const dims = ['moved', shape.blockSize, shape.kvHeads, shape.headDim];
    graph.output(blocksOf(plane), graph.node('Gather', [plane, from]), dims);
  }
  return graph.encode();
}

/** Blocks that are fed, `[moved * blockSize, kvHeads * headDim]` a plane, into those that the tables name. */
export function scatterGraph(shape: BlockShape): Uint8Array {
  const graph = new Graph();
  const dims = ['tokens', shape.kvHeads * shape.headDim];
  return writeGraph(graph, shape, (plane) => graph.input(blocksOf(plane), 'float16', dims));
}

/** The blocks `from` of every plane into those that the tables name. */
export function copyGraph(shape: BlockShape): Uint8Array {
  const graph = new Graph();
  const from = graph.input('from', 'int32', ['moved']);
  const rows = graph.integers(-1, shape.kvHeads * shape.headDim);
  return writeGraph(graph, shape, (plane) =>
    graph.node('Reshape', [graph.node('Gather', [plane, from]), rows]),
  );
}

/** `rowsOf`: a row for each token to write, in the order of the tables. */
function writeGraph(
  graph: Graph,
  shape: BlockShape,
  rowsOf: (plane: string) => string,
): Uint8Array {
  const tables = addTableInputs(graph);
  const planes = addPlaneInputs(graph, shape);
  const { kvHeads, headDim } = shape;
  planes.keys.forEach((keyPlane, layer) => {
    const valuePlane = planes.values[layer]!;
    const keys = rowsOf(keyPlane);
    // What it attends to is of no use: any queries will do.
    const attended = pagedAttention(graph, {
      ...{ queries: keys, keys, values: rowsOf(valuePlane) },
      ...{ keyPlane, valuePlane, tables, heads: kvHeads, kvHeads },
    });
    graph.output(`written.${layer}`, attended, ['tokens', kvHeads * headDim]);
  });
  return graph.encode();
}
