/**
 * Attention of single query tokens, as in decoding: all heads of a KV head at once, while its keys and values stream
 * through registers. A few lanes of a subgroup, neighbours, take a key together, and such a team goes on to another
 * key without waiting for the others: nothing is shared until the end. The softmax is computed as it goes ("online",
 * after Milakov and Gimelshein), for each team on its own.
 */
import {
  activationElements,
  attendCommon,
  enabled,
  LOG2_E,
  type KernelShape,
} from './attend-shader.js';
import { elements, partWidth, totalOf, type Elements } from './elements.js';
import { float, unrolled } from './wgsl.js';

export interface StreamSizes {
  readonly workgroup: number;
  /** Lanes that take a key together: a power of two. */
  readonly team: number;
  /** Values that a lane reads at once. */
  readonly width: number;
  /** Keys that a team reads at once. */
  readonly keys: number;
}

/** Keys that a workgroup looks at in one go. */
export function streamKeys({ workgroup, team, keys }: StreamSizes): number {
  return (workgroup / team) * keys;
}

/** Dispatch: KV heads, items of one token, rows of items. Every key of such an item is visible. */
export function streamShader(shape: KernelShape, sizes: StreamSizes): string {
  const memory = elements(shape.dtype, sizes.width, shape.hasHalves);
  const heads = shape.headsPerKv;
  const { keys, team, workgroup } = sizes;
  const vectors = shape.headDim / sizes.width / team;
  const laneParts = vectors * memory.parts;
  const teams = workgroup / team;
  const given = activationElements(shape);
  return /* wgsl */ `${enabled(shape, true)}${attendCommon(shape, memory)}
const team = ${team}u;
const teams = ${teams}u;
const headVectors = ${shape.headDim / sizes.width}u;
/** Parts of a head that a lane has. */
const laneParts = ${laneParts}u;

var<workgroup> largestOf: array<f32, ${teams * heads}>;
var<workgroup> weightsOf: array<f32, ${teams * heads}>;
var<workgroup> sumsOf: array<Vector, ${teams}u * headParts>;

/** The sum over the lanes of a team. */
fn teamSum(value: f32) -> f32 {
  var sum = value;
${teamSum(team)}
  return sum;
}

/** Which part of the head is part \`part\` of a lane. */
fn headPart(lane: u32, part: u32) -> u32 {
  return (part / ${memory.parts}u * team + lane) * ${memory.parts}u + part % ${memory.parts}u;
}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let index = id.z * ${shape.itemsPerRow}u + id.y;
  if (index >= work[1].x) { return; }
  let item = itemAt(index);
  let lane = thread % team;
  let ownTeam = thread / team;
  let firstHead = id.x * headsPerKv;
  let queryAt = (item.token * queryHeads + firstHead) * headParts;

  var queries: array<Vector, ${heads * laneParts}>;
  var sums: array<Vector, ${heads * laneParts}>;
  var largest: array<f32, ${heads}>;
  var weights: array<f32, ${heads}>;
  ${unrolled(
    heads,
    (h) => `
    largest[${h}] = lowest;
    ${unrolled(laneParts, (p) => {
      const at = `queryAt + ${h} * headParts + headPart(lane, ${p})`;
      return `queries[${h} * laneParts + ${p}] = ${given.load(`query[${at}]`)};`;
    })}`,
  )}

  for (var start = item.begin; start < item.end; start += teams * ${keys}u) {
    // Keys behind the end are read as the last one, and not counted: what is masked is never read.
    var isIn: array<bool, ${keys}>;
    var keyVectors: array<${memory.stored}, ${keys * vectors}>;
    var valueVectors: array<${memory.stored}, ${keys * vectors}>;
    ${unrolled(
      keys,
      (k) => `{
      let key = start + ownTeam + ${k} * teams;
      isIn[${k}] = key < item.end;
      let slot = slotOf(item.row, positionOf(item, min(key, item.end - 1u)));
      let at = (slot * kvHeads + id.x) * headVectors + lane;
      ${unrolled(
        vectors,
        (v) => `
        keyVectors[${k} * ${vectors}u + ${v}] = keyPlane[at + ${v} * team];
        valueVectors[${k} * ${vectors}u + ${v}] = valuePlane[at + ${v} * team];`,
      )}
    }`,
    )}
    ${unrolled(
      heads,
      (h) => `{
      var scores: array<f32, ${keys}>;
      var larger = largest[${h}];
      ${unrolled(
        keys,
        (k) => `{
        var products = Vector(0.0);
        ${unrolled(vectors, (v) =>
          eachPart(
            memory,
            `keyVectors[${k} * ${vectors}u + ${v}]`,
            (part, key) =>
              `products += queries[${h} * laneParts + ${v} * ${memory.parts}u + ${part}u] * ${key};`,
          ),
        )}
        let score = teamSum(${totalOf(partWidth(shape.headDim), 'products')}) * ${float(shape.scale * LOG2_E)};
        scores[${k}] = select(lowest, score, isIn[${k}]);
        larger = max(larger, scores[${k}]);
      }`,
      )}
      let fade = exp2(largest[${h}] - larger);
      largest[${h}] = larger;
      weights[${h}] *= fade;
      ${unrolled(laneParts, (p) => `sums[${h} * laneParts + ${p}] *= fade;`)}
      ${unrolled(
        keys,
        (k) => `{
        let weight = select(0.0, exp2(scores[${k}] - larger), isIn[${k}]);
        weights[${h}] += weight;
        ${unrolled(vectors, (v) =>
          eachPart(
            memory,
            `valueVectors[${k} * ${vectors}u + ${v}]`,
            (part, value) =>
              `sums[${h} * laneParts + ${v} * ${memory.parts}u + ${part}u] += weight * ${value};`,
          ),
        )}
      }`,
      )}
    }`,
    )}
  }

  if (lane == 0u) {
    ${unrolled(
      heads,
      (h) => `
      largestOf[ownTeam * headsPerKv + ${h}] = largest[${h}];
      weightsOf[ownTeam * headsPerKv + ${h}] = weights[${h}];`,
    )}
  }
  workgroupBarrier();
  ${unrolled(
    heads,
    (h) => `{
    // The teams' sums of a head become one, in the room that all heads share.
    var most = lowest;
    for (var other = 0u; other < teams; other++) { most = max(most, largestOf[other * headsPerKv + ${h}]); }
    let fade = exp2(largest[${h}] - most);
    ${unrolled(laneParts, (p) => `sumsOf[ownTeam * headParts + headPart(lane, ${p})] = sums[${h} * laneParts + ${p}] * fade;`)}
    workgroupBarrier();
    for (var part = thread; part < headParts; part += ${workgroup}u) {
      var total = 0.0;
      var sum = Vector(0.0);
      for (var other = 0u; other < teams; other++) {
        let at = other * headsPerKv + ${h};
        total += weightsOf[at] * exp2(largestOf[at] - most);
        sum += sumsOf[other * headParts + part];
      }
      leave(item, 0u, firstHead + ${h}, part, sum, most, total);
    }
    workgroupBarrier();
  }`,
  )}
}
`;
}

function teamSum(team: number): string {
  const steps: string[] = [];
  for (let distance = team / 2; distance >= 1; distance /= 2) {
    steps.push(`  sum += subgroupShuffleXor(sum, ${distance}u);`);
  }
  return steps.join('\n');
}

/** For each part of a stored vector, whose values are unpacked. */
function eachPart(
  memory: Elements,
  vector: string,
  make: (part: number, values: string) => string,
): string {
  return Array.from({ length: memory.parts }, (_, part) =>
    make(part, memory.load(vector, part)),
  ).join('\n');
}
