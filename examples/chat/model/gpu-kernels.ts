/**
 * The model's kernels in WGSL, attention left out. Every row (one query token) is computed by itself and
 * every sum runs in ascending order, whatever the batch: the same token gives the same bits in any pass.
 *
 * Row buffers are padded to a multiple of four rows, so that the product may compute four at a time; what
 * it computes beyond the last row is read by nobody.
 */
import { type ModelConfig, projectionWidth } from './config.js';

/** Invocations of a workgroup, in every kernel here. */
export const workgroup = 32;

const header = /* wgsl */ `
struct Counts { tokens: u32, wanted: u32 }
@group(0) @binding(0) var<uniform> counts: Counts;
`;

/** Bindings: counts, ids, embedding, stream. One invocation copies four numbers of a row. */
export function embedKernel({ hidden }: ModelConfig): string {
  return /* wgsl */ `${header}
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> embedding: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> stream: array<vec4f>;
const width = ${hidden / 4}u;

@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.y;
  if (id.x >= width || row >= counts.tokens) { return; }
  stream[row * width + id.x] = embedding[ids[row] * width + id.x];
}`;
}

/** Bindings: counts, stream, gain, normed. One invocation norms one row. */
export function normKernel({ hidden, epsilon }: ModelConfig): string {
  return rmsNorm(hidden, epsilon, '', 'counts.tokens', 'row');
}

/** Bindings: counts, stream, gain, normed, wanted. Gathers the rows whose logits are wanted. */
export function lastNormKernel({ hidden, epsilon }: ModelConfig): string {
  const binding = '@group(0) @binding(4) var<storage, read> wanted: array<u32>;';
  return rmsNorm(hidden, epsilon, binding, 'counts.wanted', 'wanted[row]');
}

function rmsNorm(
  width: number,
  epsilon: number,
  binding: string,
  rows: string,
  source: string,
): string {
  return /* wgsl */ `${header}
@group(0) @binding(1) var<storage, read> stream: array<vec4f>;
@group(0) @binding(2) var<storage, read> gain: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> normed: array<vec4f>;
${binding}
const width = ${width / 4}u;

@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.x;
  if (row >= ${rows}) { return; }
  let start = ${source} * width;
  var squares = vec4f();
  for (var i = 0u; i < width; i++) { squares += stream[start + i] * stream[start + i]; }
  let mean = (squares.x + squares.y + squares.z + squares.w) / ${width}.0;
  let scale = 1.0 / sqrt(mean + ${epsilon});
  for (var i = 0u; i < width; i++) { normed[row * width + i] = stream[start + i] * scale * gain[i]; }
}`;
}

/**
 * Bindings: counts, input, matrix, out. `out` becomes or, with `'add'`, grows by `input × matrix`.
 * One invocation computes four rows by four columns.
 */
export function productKernel(
  inputs: number,
  outputs: number,
  rows: 'tokens' | 'wanted',
  mode: 'set' | 'add',
): string {
  const assign = mode === 'add' ? '+=' : '=';
  return /* wgsl */ `${header}
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> matrix: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>;
const inputs = ${inputs}u;
const width = ${outputs / 4}u;

@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let column = id.x;
  let row = id.y * 4u;
  if (column >= width || row >= counts.${rows}) { return; }
  var sums: array<vec4f, 4>;
  let start = row * inputs;
  for (var i = 0u; i < inputs; i++) {
    let weights = matrix[i * width + column];
    sums[0] += input[start + i] * weights;
    sums[1] += input[start + inputs + i] * weights;
    sums[2] += input[start + 2u * inputs + i] * weights;
    sums[3] += input[start + 3u * inputs + i] * weights;
  }
  for (var i = 0u; i < 4u; i++) { out[(row + i) * width + column] ${assign} sums[i]; }
}`;
}

/**
 * Bindings: counts, positions, rope, projected, queries, keys, values. One invocation carries one pair
 * of dimensions of one head, rotated unless it is a value's.
 */
export function splitKernel(config: ModelConfig): string {
  const { heads, kvHeads, headDim } = config;
  return /* wgsl */ `${header}
@group(0) @binding(1) var<storage, read> positions: array<u32>;
@group(0) @binding(2) var<storage, read> rope: array<vec2f>;
@group(0) @binding(3) var<storage, read> projected: array<f32>;
@group(0) @binding(4) var<storage, read_write> queries: array<f32>;
@group(0) @binding(5) var<storage, read_write> keys: array<f32>;
@group(0) @binding(6) var<storage, read_write> values: array<f32>;
const heads = ${heads}u;
const kvHeads = ${kvHeads}u;
const headDim = ${headDim}u;
const half = ${headDim / 2}u;
const width = ${projectionWidth(config)}u;

@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.y;
  if (id.x >= width / 2u || row >= counts.tokens) { return; }
  let head = id.x / half;
  let pair = id.x % half;
  let start = row * width + head * headDim + pair;
  let a = projected[start];
  let b = projected[start + half];
  let turn = rope[positions[row] * half + pair];
  let first = a * turn.x - b * turn.y;
  let second = b * turn.x + a * turn.y;
  if (head < heads) {
    let place = (row * heads + head) * headDim + pair;
    queries[place] = first;
    queries[place + half] = second;
  } else if (head < heads + kvHeads) {
    let place = (row * kvHeads + head - heads) * headDim + pair;
    keys[place] = first;
    keys[place + half] = second;
  } else {
    let place = (row * kvHeads + head - heads - kvHeads) * headDim + pair;
    values[place] = a;
    values[place + half] = b;
  }
}`;
}

/** Bindings: counts, gateUp, gated. One invocation gates four numbers of a row. */
export function gateKernel({ inner }: ModelConfig): string {
  return /* wgsl */ `${header}
@group(0) @binding(1) var<storage, read> gateUp: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> gated: array<vec4f>;
const width = ${inner / 4}u;

@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let row = id.y;
  if (id.x >= width || row >= counts.tokens) { return; }
  let gate = gateUp[row * 2u * width + id.x];
  let up = gateUp[(row * 2u + 1u) * width + id.x];
  gated[row * width + id.x] = gate / (1.0 + exp(-gate)) * up;
}`;
}
