/**
 * Attention of tiles of queries, as in prefill: a workgroup has rows, which are query tokens times heads of one KV
 * head, and brings tile after tile of keys and then values into its own memory, where all rows use them (after
 * FlashAttention: nothing as large as rows times context is ever kept).
 *
 * A key that some of the queries must not see gets the weight 0 for them, and its value is left out: what it holds
 * may be NaN, and NaN times zero is NaN. A key that none of them sees is not read.
 */
import {
  activationElements,
  attendCommon,
  enabled,
  LOG2_E,
  type KernelShape,
} from './attend-shader.js';
import { elements, partWidth, totalOf, vectorType } from './elements.js';
import { float, unrolled } from './wgsl.js';

export interface TileChoice {
  readonly workgroup: number;
  /** Query tokens times heads. A power of two, as are the others. */
  readonly rows: number;
  readonly keys: number;
}

export interface TileSizes extends TileChoice {
  /** Lanes of a subgroup that are neighbours in the workgroup; 1: none. */
  readonly lanes: number;
}

/** Heads of one KV head that a workgroup serves. */
export function tileHeads({ headsPerKv }: { headsPerKv: number }, { rows }: TileSizes): number {
  return Math.min(headsPerKv, rows);
}

/** Query tokens that a workgroup serves. */
export function tileTokens(shape: { headsPerKv: number }, sizes: TileSizes): number {
  return Math.floor(sizes.rows / tileHeads(shape, sizes));
}

/** Bytes of workgroup memory. */
export function tileBytes(headDim: number, sizes: TileChoice, stagedBytes: number): number {
  const width = partWidth(headDim);
  const pitch = pitchOf(headDim / width) * width * stagedBytes;
  const words = sizes.rows * (sizes.keys + 1) + sizes.keys + 2 * sizes.rows + sizes.workgroup;
  return (sizes.rows + sizes.keys) * pitch + words * 4;
}

/** From one row of vectors to the next: odd, so that neighbouring lanes find them in different banks. */
function pitchOf(vectors: number): number {
  return vectors | 1;
}

/** Halves stay halves in workgroup memory where the shader has them. */
export function stagesHalves({ dtype, activations, hasHalves }: KernelShape): boolean {
  return hasHalves && dtype === 'f16' && activations === 'f16';
}

/**
 * `single`: of the items of one token, else of the others.
 * Dispatch: KV heads times shares of their query heads, items, rows of items.
 */
export function tileShader(shape: KernelShape, sizes: TileSizes, single: boolean): string {
  const width = partWidth(shape.headDim);
  const memory = elements(shape.dtype, width, shape.hasHalves);
  const given = activationElements(shape);
  const parts = shape.headDim / width;
  const { rows, keys, workgroup } = sizes;
  const staged = stagedAs(stagesHalves(shape), width);
  const heads = tileHeads(shape, sizes);
  const score = scoreGrid(sizes);
  const value = valueGrid(sizes, parts);
  const softmax = softmaxGrid(sizes);
  const usesSubgroups = softmax.lanesPerRow > 1 && softmax.lanesPerRow <= sizes.lanes;
  const stage = (plane: string): string => /* wgsl */ `
    for (var at = thread; at < count * headParts; at += threads) {
      let key = at / headParts;
      let part = at % headParts;
      let vector = ${plane}[(slots[key] * kvHeads + kvHead) * headParts + part];
      tile[key * pitch + part] = ${staged.store(memory.load('vector'))};
    }`;
  const eachSum = (body: (row: string, column: string, at: string) => string): string =>
    unrolled(value.rows, (r) =>
      unrolled(value.columns, (c) => body(r, c, `${r} * ${value.columns}u + ${c}`)),
    );
  const sumValues = (term: (weight: string, value: string) => string): string => /* wgsl */ `
        for (var key = 0u; key < count; key++) {
          var values: array<Vector, ${value.columns}>;
          ${unrolled(
            value.columns,
            (c) => `
            values[${c}] = ${staged.load(`tile[key * pitch + min(sumPart + ${c} * ${value.across}u, headParts - 1u)]`)};`,
          )}
          ${unrolled(
            value.rows,
            (r) => `{
            let weight = scores[min(sumRow + ${r}, rows - 1u) * scorePitch + key];
            ${unrolled(
              value.columns,
              (c) => `
              sums[${r} * ${value.columns}u + ${c}] += ${term('weight', `values[${c}]`)};`,
            )}
          }`,
          )}
        }`;
  return /* wgsl */ `${enabled(shape, usesSubgroups)}${attendCommon(shape, memory)}
const pitch = ${pitchOf(parts)}u;
const rows = ${rows}u;
const keys = ${keys}u;
/** From one row of scores to the next. */
const scorePitch = ${keys + 1}u;
const heads = ${heads}u;
const headShares = ${Math.ceil(shape.headsPerKv / heads)}u;
const threads = ${workgroup}u;

var<workgroup> queries: array<${staged.type}, rows * pitch>;
/** Of keys, then of values. */
var<workgroup> tile: array<${staged.type}, keys * pitch>;
/** Scores, then weights. */
var<workgroup> scores: array<f32, rows * scorePitch>;
/** By key of the tile: its slot. */
var<workgroup> slots: array<u32, keys>;
var<workgroup> fades: array<f32, rows>;
var<workgroup> folded: array<f32, threads>;

/** Of a row. */
fn queryOf(item: Item, row: u32) -> Query {
  let token = min(row / heads, item.tokens - 1u);
  return Query(item.token + token, item.position + token);
}

fn findSlots(item: Item, first: u32, thread: u32) {
  for (var key = thread; key < min(keys, item.end - first); key += threads) {
    slots[key] = slotOf(item.row, positionOf(item, first + key));
  }
}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let index = id.z * ${shape.itemsPerRow}u + id.y;
  let counts = work[1];
  if (index >= counts.${single ? 'x' : 'y'}) { return; }
  let item = itemAt(index${single ? '' : ' + counts.x'});
  let kvHead = id.x / headShares;
  let shareHead = id.x % headShares * heads;
  let firstHead = kvHead * headsPerKv + shareHead;
  let usedHeads = min(heads, headsPerKv - shareHead);

  for (var at = thread; at < rows * headParts; at += threads) {
    let row = at / headParts;
    let part = at % headParts;
    var vector = ${staged.type}();
    if (row / heads < item.tokens && row % heads < usedHeads) {
      let head = (item.token + row / heads) * queryHeads + firstHead + row % heads;
      vector = ${staged.store(given.load('query[head * headParts + part]'))};
    }
    queries[row * pitch + part] = vector;
  }
  findSlots(item, item.begin, thread);

  let scoreRow = thread / ${score.across}u * ${score.rows}u;
  let scoreKey = thread % ${score.across}u;
  let softmaxRow = thread / ${softmax.lanesPerRow}u;
  let softmaxLane = thread % ${softmax.lanesPerRow}u;
  let sumRow = thread / ${value.across}u * ${value.rows}u;
  let sumPart = thread % ${value.across}u;
  let isSumming = thread < ${value.across * value.down}u;
  var largest: array<f32, ${softmax.rows}>;
  var weights: array<f32, ${softmax.rows}>;
  var sums: array<Vector, ${value.rows * value.columns}>;
  ${unrolled(softmax.rows, (r) => `largest[${r}] = lowest;`)}
  workgroupBarrier();

  for (var first = item.begin; first < item.end; first += keys) {
    let count = min(keys, item.end - first);
    let isWhole = isWhollyVisible(
      queryOf(item, 0u), queryOf(item, rows - 1u),
      positionOf(item, first), positionOf(item, first + count - 1u),
    );
    ${stage('keyPlane')}
    workgroupBarrier();

    // Spelled out, since some compilers clear a variable of a loop once only.
    var products = array<Vector, ${score.rows * score.keys}>();
    for (var part = 0u; part < headParts; part++) {
      var keyParts: array<Vector, ${score.keys}>;
      ${unrolled(
        score.keys,
        (k) => `
        keyParts[${k}] = ${staged.load(`tile[(scoreKey + ${k} * ${score.across}u) * pitch + part]`)};`,
      )}
      ${unrolled(
        score.rows,
        (r) => `{
        let queryPart = ${staged.load(`queries[(scoreRow + ${r}) * pitch + part]`)};
        ${unrolled(score.keys, (k) => `products[${r} * ${score.keys}u + ${k}] += queryPart * keyParts[${k}];`)}
      }`,
      )}
    }
    ${unrolled(
      score.rows,
      (r) => `{
      let row = scoreRow + ${r};
      let seer = queryOf(item, row);
      ${unrolled(
        score.keys,
        (k) => `{
        let key = scoreKey + ${k} * ${score.across}u;
        let isSeen = key < count && (isWhole || isVisible(seer, positionOf(item, first + key)));
        let score = ${totalOf(width, `products[${r} * ${score.keys}u + ${k}]`)} * ${float(shape.scale * LOG2_E)};
        scores[row * scorePitch + key] = select(lowest, score, isSeen);
      }`,
      )}
    }`,
    )}
    workgroupBarrier();

    var most = largest;
    ${unrolled(
      softmax.rows,
      (r) => `
      for (var key = softmaxLane; key < keys; key += ${softmax.lanesPerRow}u) {
        most[${r}] = max(most[${r}], scores[(softmaxRow + ${r} * ${softmax.down}u) * scorePitch + key]);
      }`,
    )}
    ${foldMost(softmax, usesSubgroups)}
    ${unrolled(
      softmax.rows,
      (r) => `{
      let row = softmaxRow + ${r} * ${softmax.down}u;
      let fade = exp2(largest[${r}] - most[${r}]);
      weights[${r}] *= fade;
      if (softmaxLane == 0u) { fades[row] = fade; }
      for (var key = softmaxLane; key < keys; key += ${softmax.lanesPerRow}u) {
        let score = scores[row * scorePitch + key];
        let weight = select(exp2(score - most[${r}]), 0.0, score == lowest);
        scores[row * scorePitch + key] = weight;
        weights[${r}] += weight;
      }
    }`,
    )}
    largest = most;
    ${stage('valuePlane')}
    workgroupBarrier();

    if (isSumming) {
      ${unrolled(
        value.rows,
        (r) => `{
        let fade = fades[min(sumRow + ${r}, rows - 1u)];
        ${unrolled(value.columns, (c) => `sums[${r} * ${value.columns}u + ${c}] *= fade;`)}
      }`,
      )}
      if (isWhole) {${sumValues((weight, vector) => `${weight} * ${vector}`)}
      } else {${sumValues((weight, vector) => `select(Vector(0.0), ${weight} * ${vector}, ${weight} != 0.0)`)}
      }
    }
    if (first + keys < item.end) { findSlots(item, first + keys, thread); }
    workgroupBarrier();
  }

  ${unrolled(
    softmax.rows,
    (r) => `{
    folded[thread] = weights[${r}];
    workgroupBarrier();
    if (softmaxLane == 0u) {
      let row = softmaxRow + ${r} * ${softmax.down}u;
      var total = 0.0;
      for (var lane = 0u; lane < ${softmax.lanesPerRow}u; lane++) { total += folded[thread + lane]; }
      fades[row] = total;
      scores[row * scorePitch] = largest[${r}];
    }
    workgroupBarrier();
  }`,
  )}
  if (!isSumming) { return; }
  ${eachSum(
    (r, c, at) => `{
    let row = sumRow + ${r};
    let part = sumPart + ${c} * ${value.across}u;
    if (row < rows && row / heads < item.tokens && row % heads < usedHeads && part < headParts) {
      let weightSum = fades[row];
      leave(item, row / heads, firstHead + row % heads, part, sums[${at}], scores[row * scorePitch], weightSum);
    }
  }`,
  )}
}
`;
}

/** How workgroup memory keeps vectors of f32. */
interface Staged {
  readonly type: string;
  readonly load: (expression: string) => string;
  readonly store: (expression: string) => string;
}

function stagedAs(halves: boolean, width: number): Staged {
  const type = vectorType(width);
  if (!halves) return { type, load: (x) => x, store: (x) => x };
  const half = width === 1 ? 'f16' : `vec${width}h`;
  return { type: half, load: (x) => `${type}(${x})`, store: (x) => `${half}(${x})` };
}

/** Scores of a tile: each invocation has some rows and keys, `across` neighbours share the rows. */
function scoreGrid({ workgroup, rows, keys }: TileSizes): {
  rows: number;
  keys: number;
  across: number;
} {
  const each = Math.max(1, (rows * keys) / workgroup);
  const ownRows = Math.min(rows, 2 ** Math.floor(Math.log2(each) / 2));
  const ownKeys = Math.min(keys, each / ownRows);
  return { rows: each / ownKeys, keys: ownKeys, across: keys / ownKeys };
}

/** `lanesPerRow` neighbours share a row; an invocation has `rows` of them, `down` apart. */
interface SoftmaxGrid {
  readonly lanesPerRow: number;
  readonly down: number;
  readonly rows: number;
}

function softmaxGrid({ workgroup, rows }: TileSizes): SoftmaxGrid {
  const lanesPerRow = Math.max(1, workgroup / rows);
  const down = workgroup / lanesPerRow;
  return { lanesPerRow, down, rows: rows / down };
}

/** Sums of values: an invocation has `rows` neighbouring rows and `columns` parts of the head, `across` apart. */
interface ValueGrid {
  readonly across: number;
  readonly down: number;
  readonly rows: number;
  readonly columns: number;
}

function valueGrid({ workgroup, rows }: TileSizes, parts: number): ValueGrid {
  const across = Math.min(parts, workgroup);
  const down = Math.min(rows, Math.floor(workgroup / across));
  return { across, down, rows: Math.ceil(rows / down), columns: Math.ceil(parts / across) };
}

/** The largest score over the lanes of a row. An invocation has one row then. */
function foldMost({ lanesPerRow }: SoftmaxGrid, usesSubgroups: boolean): string {
  if (lanesPerRow === 1) return '';
  if (usesSubgroups) {
    const steps = Array.from({ length: Math.log2(lanesPerRow) }, (_, i) => 2 ** i);
    return steps
      .map((distance) => `most[0] = max(most[0], subgroupShuffleXor(most[0], ${distance}u));`)
      .join('\n');
  }
  return /* wgsl */ `
    folded[thread] = most[0];
    workgroupBarrier();
    for (var lane = 0u; lane < ${lanesPerRow}u; lane++) {
      most[0] = max(most[0], folded[thread - softmaxLane + lane]);
    }`;
}
