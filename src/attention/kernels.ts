/** The WGSL of paged attention, generated for one shape: what does not change is a constant of the shader. */
import type { ListOffsets } from '../device/tables.js';
import type { DType } from '../plan.js';
import { elements, vectorType, vectorWidth } from './elements.js';
import type { AttentionShape } from './shape.js';

export interface KernelShape extends AttentionShape {
  /** The element type of query, key, value and output. */
  readonly activations: DType;
  readonly blockSize: number;
  readonly maxBlocksPerSequence: number;
  readonly offsets: ListOffsets;
  /** Tokens that the second dimension of a dispatch counts; the third continues. */
  readonly tokensPerRow: number;
  /** Invocations of a workgroup that attends, and keys that it looks at in one go. */
  readonly workgroup: number;
}

export const WRITE_WORKGROUP = 64;
/** The most invocations of a workgroup that attends: each sums at most one vector of a head. */
export const MAX_ATTEND_WORKGROUP = 128;

/**
 * Invocations of a workgroup that attends. A GPU runs them at once; a software adapter runs them one after
 * the other and pays for each at every barrier, so there it is the fewest that the head allows.
 */
export function attendWorkgroup(headDim: number, isSoftware: boolean): number {
  if (!isSoftware) return MAX_ATTEND_WORKGROUP;
  let invocations = 16;
  while (invocations < headDim / vectorWidth(headDim)) invocations *= 2;
  return invocations;
}

/** Workgroups that write one token's keys and values. */
export function writeWorkgroups(shape: AttentionShape): number {
  const vectors = (shape.kvHeads * shape.headDim) / vectorWidth(shape.headDim);
  return Math.ceil(vectors / WRITE_WORKGROUP);
}

/**
 * Each invocation writes one vector of one token's key and value to the token's slot.
 * Dispatch: vectors of a token, tokens, rows of tokens.
 */
export function writeShader(shape: KernelShape): string {
  const width = vectorWidth(shape.headDim);
  const memory = elements(shape.dtype, width);
  const given = elements(shape.activations, width);
  // The same type on both sides is copied bit by bit, NaN payloads included.
  const convert = (x: string): string =>
    memory.stored === given.stored ? x : memory.store(given.load(x));
  return /* wgsl */ `
@group(0) @binding(0) var<storage, read> lists: array<i32>;
@group(0) @binding(1) var<storage, read> slotMapping: array<i32>;
@group(0) @binding(2) var<storage, read_write> keyPlane: array<${memory.stored}>;
@group(0) @binding(3) var<storage, read_write> valuePlane: array<${memory.stored}>;
@group(1) @binding(0) var<storage, read> key: array<${given.stored}>;
@group(1) @binding(1) var<storage, read> value: array<${given.stored}>;

const tokenVectors = ${(shape.kvHeads * shape.headDim) / width}u;

@compute @workgroup_size(${WRITE_WORKGROUP})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let token = id.z * ${shape.tokensPerRow}u + id.y;
  if (token >= u32(lists[${shape.offsets.tokens}])) { return; }
  let slot = slotMapping[token];
  let vector = id.x * ${WRITE_WORKGROUP}u + thread;
  if (slot < 0 || vector >= tokenVectors) { return; }
  let source = token * tokenVectors + vector;
  let to = u32(slot) * tokenVectors + vector;
  keyPlane[to] = ${convert('key[source]')};
  valuePlane[to] = ${convert('value[source]')};
}
`;
}

/**
 * One workgroup attends for one query token and head, with the softmax computed as it goes ("online", after
 * Milakov and Gimelshein). Each turn looks at as many keys as there are invocations: every invocation scores
 * one key, then they change roles and each sums one vector of the values over a share of the keys.
 *
 * What lies behind the end of the context is not read at all: it may be NaN, and NaN times zero is NaN.
 * Dispatch: query heads, tokens, rows of tokens.
 */
export function attendShader(shape: KernelShape): string {
  const width = vectorWidth(shape.headDim);
  const memory = elements(shape.dtype, width);
  const given = elements(shape.activations, width);
  const vector = vectorType(width);
  const vectors = shape.headDim / width;
  const { offsets } = shape;
  return /* wgsl */ `
@group(0) @binding(0) var<storage, read> lists: array<i32>;
@group(0) @binding(1) var<storage, read> blockTable: array<i32>;
@group(0) @binding(2) var<storage, read> keyPlane: array<${memory.stored}>;
@group(0) @binding(3) var<storage, read> valuePlane: array<${memory.stored}>;
@group(1) @binding(0) var<storage, read> query: array<${given.stored}>;
@group(1) @binding(1) var<storage, read_write> output: array<${given.stored}>;

const threads = ${shape.workgroup}u;
const vectors = ${vectors}u;
/** Shares that the keys of a turn are dealt into when values are summed. */
const shares = threads / vectors;
const blockSize = ${shape.blockSize}u;
/** Below every score, and far enough from the end of f32 for differences to stay finite. */
const lowest = -1e30;

var<workgroup> queryHead: array<${vector}, vectors>;
var<workgroup> slots: array<u32, threads>;
var<workgroup> weights: array<f32, threads>;
var<workgroup> folded: array<f32, threads>;
var<workgroup> sums: array<${vector}, threads>;

fn total(v: ${vector}) -> f32 {
  return ${width === 1 ? 'v' : `dot(v, ${vector}(1.0))`};
}

/** The batch entry that a query token belongs to: the last that begins at or before it. */
fn entryOf(token: u32) -> u32 {
  var low = 0u;
  var high = u32(lists[${offsets.batch}]);
  while (high - low > 1u) {
    let middle = (low + high) / 2u;
    if (u32(lists[${offsets.cumulativeLengths}u + middle]) <= token) { low = middle; } else { high = middle; }
  }
  return low;
}

fn slotOf(row: u32, position: u32) -> u32 {
  let block = u32(blockTable[row * ${shape.maxBlocksPerSequence}u + position / blockSize]);
  return block * blockSize + position % blockSize;
}

@compute @workgroup_size(${shape.workgroup})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let token = id.z * ${shape.tokensPerRow}u + id.y;
  if (token >= u32(lists[${offsets.tokens}])) { return; }
  let kvHead = id.x / ${shape.headsPerKv}u;
  let at = (token * ${shape.queryHeads}u + id.x) * vectors;
  let entry = entryOf(token);
  let row = u32(lists[${offsets.rows}u + entry]);
  let begin = u32(lists[${offsets.cumulativeLengths}u + entry]);
  let context = u32(lists[${offsets.pastLengths}u + entry]) + token - begin + 1u;

  for (var d = thread; d < vectors; d += threads) {
    queryHead[d] = ${given.load('query[at + d]')};
  }
  workgroupBarrier();

  let share = thread / vectors;
  let lane = thread % vectors;
  var best = lowest;
  var weightSum = 0.0;
  var valueSum = ${vector}(0.0);

  for (var first = 0u; first < context; first += threads) {
    let count = min(threads, context - first);
    var score = lowest;
    if (thread < count) {
      let slot = slotOf(row, first + thread);
      slots[thread] = slot;
      let keyAt = (slot * ${shape.kvHeads}u + kvHead) * vectors;
      var products = ${vector}(0.0);
      for (var d = 0u; d < vectors; d++) {
        products += queryHead[d] * ${memory.load('keyPlane[keyAt + d]')};
      }
      score = total(products) * ${float(shape.scale)};
    }
    folded[thread] = score;
    workgroupBarrier();
    for (var half = threads / 2u; half > 0u; half /= 2u) {
      if (thread < half) { folded[thread] = max(folded[thread], folded[thread + half]); }
      workgroupBarrier();
    }
    let better = max(best, folded[0]);
    let fade = exp(best - better);
    best = better;
    let weight = select(0.0, exp(score - best), thread < count);
    weights[thread] = weight;
    weightSum = weightSum * fade + weight;
    valueSum *= fade;
    workgroupBarrier();
    if (share < shares) {
      for (var j = share; j < count; j += shares) {
        let valueAt = (slots[j] * ${shape.kvHeads}u + kvHead) * vectors + lane;
        valueSum += weights[j] * ${memory.load('valuePlane[valueAt]')};
      }
    }
    workgroupBarrier();
  }

  folded[thread] = weightSum;
  sums[thread] = valueSum;
  workgroupBarrier();
  for (var half = threads / 2u; half > 0u; half /= 2u) {
    if (thread < half) { folded[thread] += folded[thread + half]; }
    workgroupBarrier();
  }
  if (thread < vectors) {
    var sum = sums[thread];
    for (var other = 1u; other < shares; other++) { sum += sums[other * vectors + thread]; }
    output[at + thread] = ${given.store('(sum / folded[0])')};
  }
}
`;
}

/** A number as a WGSL f32 literal. */
function float(value: number): string {
  const text = String(Math.fround(value));
  return /[.e]/.test(text) ? `f32(${text})` : `f32(${text}.0)`;
}
