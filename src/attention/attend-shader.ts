/** What all kernels that attend have in common: how memory, queries and work are read, and how results leave. */
import type { DType } from '../plan.js';
import { elements, partWidth, vectorType, type Elements } from './elements.js';
import type { AttentionShape } from './shape.js';
import { VISIBILITY_WGSL } from './visibility.js';
import { HEADER_VECTORS, ITEM_VECTORS, NO_PARTIAL } from './work.js';

export interface KernelShape extends AttentionShape {
  /** The element type of query, key, value and output. */
  readonly activations: DType;
  readonly blockSize: number;
  readonly maxBlocksPerSequence: number;
  /** Whether shaders may use `shader-f16`. */
  readonly hasHalves: boolean;
  /** Where the lists of a step tell how many query tokens it has. */
  readonly tokensAt: number;
  /** Items that the second dimension of a dispatch counts; the third continues. */
  readonly itemsPerRow: number;
}

/** Scores are powers of two in the softmax, which saves a multiplication each. */
export const LOG2_E = Math.LOG2E;

/** Vectors of f32 that a partial result consists of: the sums of a head, then the largest score and the weights' sum. */
export function partialVectors(headDim: number): number {
  const width = partWidth(headDim);
  return headDim / width + (width === 1 ? 2 : 1);
}

export function activationElements(shape: KernelShape): Elements {
  return elements(shape.activations, partWidth(shape.headDim), shape.hasHalves);
}

export function enabled({ hasHalves }: KernelShape, hasSubgroups: boolean): string {
  const names = [...(hasHalves ? ['f16'] : []), ...(hasSubgroups ? ['subgroups'] : [])];
  return names.map((name) => `enable ${name};\n`).join('');
}

/**
 * Bindings, and functions over them. `memory`: how planes are read; undefined for a kernel that reads none.
 * A key is given by its slot; a row of results by token (in the item) and query head.
 */
export function attendCommon(shape: KernelShape, memory: Elements | undefined): string {
  const width = partWidth(shape.headDim);
  const given = activationElements(shape);
  return /* wgsl */ `
${memory === undefined ? '' : planes(memory)}
@group(0) @binding(0) var<storage, read_write> partials: array<${vectorType(width)}>;
@group(1) @binding(0) var<storage, read> query: array<${given.stored}>;
@group(1) @binding(1) var<storage, read_write> output: array<${given.stored}>;
@group(2) @binding(0) var<storage, read> work: array<vec4u>;

alias Vector = ${vectorType(width)};

const headParts = ${shape.headDim / width}u;
const queryHeads = ${shape.queryHeads}u;
const kvHeads = ${shape.kvHeads}u;
const headsPerKv = ${shape.headsPerKv}u;
const blockSize = ${shape.blockSize}u;
const partialStride = ${partialVectors(shape.headDim)}u;
/** Below every score, and far enough from the end of f32 for differences to stay finite. */
const lowest = -1e30;

fn window() -> u32 { return work[0].x; }
fn sinks() -> u32 { return work[0].y; }
fn chunk() -> u32 { return work[0].z; }
${VISIBILITY_WGSL}
struct Item {
  row: u32, token: u32, tokens: u32, position: u32,
  begin: u32, end: u32, gap: u32, partialRow: u32,
}

fn itemAt(index: u32) -> Item {
  let at = ${HEADER_VECTORS}u + index * ${ITEM_VECTORS}u;
  let queries = work[at];
  let keys = work[at + 1u];
  return Item(queries.x, queries.y, queries.z, queries.w, keys.x, keys.y, keys.z, keys.w);
}

/** The position of a key that an item counts as \`index\`. */
fn positionOf(item: Item, index: u32) -> u32 {
  return select(index, index + item.gap, index >= sinks());
}

${memory === undefined ? '' : slotOf(shape)}
/** Leaves a part of what a row's weighed values sum up to; part 0 leaves \`largest\` and \`weights\`, too. */
fn leave(item: Item, token: u32, head: u32, part: u32, sum: Vector, largest: f32, weights: f32) {
  let row = token * queryHeads + head;
  if (item.partialRow == ${NO_PARTIAL}u) {
    output[(item.token * queryHeads + row) * headParts + part] = ${given.store('(sum / weights)')};
    return;
  }
  let at = (item.partialRow + row) * partialStride;
  partials[at + part] = sum;
  if (part == 0u) { ${storeStatistics(width)} }
}
`;
}

const planes = ({ stored }: Elements): string => /* wgsl */ `
@group(0) @binding(1) var<storage, read> blockTable: array<i32>;
@group(0) @binding(2) var<storage, read> keyPlane: array<${stored}>;
@group(0) @binding(3) var<storage, read> valuePlane: array<${stored}>;
`;

const slotOf = ({ maxBlocksPerSequence }: KernelShape): string => /* wgsl */ `
fn slotOf(row: u32, position: u32) -> u32 {
  let block = u32(blockTable[row * ${maxBlocksPerSequence}u + position / blockSize]);
  return block * blockSize + position % blockSize;
}
`;

function storeStatistics(width: number): string {
  if (width === 1) {
    return 'partials[at + headParts] = largest; partials[at + headParts + 1u] = weights;';
  }
  const rest = width === 4 ? ', 0.0, 0.0' : '';
  return `partials[at + headParts] = Vector(largest, weights${rest});`;
}

/** WGSL: the largest score and the weights' sum of a partial result that begins at `at`. */
export function loadStatistics(headDim: number, at: string): string {
  if (partWidth(headDim) === 1) {
    return `vec2f(partials[${at} + headParts], partials[${at} + headParts + 1u])`;
  }
  return `partials[${at} + headParts].xy`;
}
