/**
 * The kernels that move blocks, for the blocks of a layout and the records of its host tier. A workgroup moves (a
 * part of) one plane of one record.
 */
import type { CacheLayout } from '../plan.js';
import { PagedKvError } from '../errors.js';
import { COPY_WORDS, MOVE_WORDS, WORD_BYTES } from '../words.js';
import { BYTES_PER_ELEMENT } from '../groups.js';
import { modelOf } from './layout.js';
import { scalesOffset } from './quantized.js';

export const WORKGROUP = 64;
/** Units each invocation moves, so that a small block does not take many workgroups. */
const UNITS_PER_INVOCATION = 4;
/** A GPU moves four words as fast as one. */
const WIDE_BYTES = 4 * WORD_BYTES;

/**
 * Of a list, before its records: the length of a packed record, where in a whole one it begins; then the first
 * plane, by group.
 */
export const HEADER_WORDS = 2;

export interface MoveShader {
  readonly code: string;
  /** What all offsets and lengths are counted in. */
  readonly unitBytes: number;
  /** For `gather` and `scatter` of a plane of so many bytes a block. */
  workgroups(blockBytes: number): number;
}

/** Of records that are as blocks are. */
export function plainShader({ groups }: CacheLayout): MoveShader {
  const planes = groups.flatMap((group) => group.planes);
  const isWide = planes.every(({ bytesPerToken }) => bytesPerToken % WIDE_BYTES === 0);
  const unitBytes = isWide ? WIDE_BYTES : WORD_BYTES;
  return {
    code: common(isWide ? 'vec4u' : 'u32') + PLAIN,
    unitBytes,
    workgroups: (blockBytes) => copyWorkgroups(blockBytes, unitBytes),
  };
}

/** For `copyWithin` of a plane of so many bytes a block. */
export function copyWorkgroups(blockBytes: number, unitBytes: number): number {
  return Math.ceil(blockBytes / unitBytes / (WORKGROUP * UNITS_PER_INVOCATION));
}

/**
 * Of records in int8, packed by the kernels themselves. Throws `NO_MODEL` where the elements are not known, and
 * `INVALID_OPTION` where a head is not a multiple of 4 values.
 */
export function int8Shader(layout: CacheLayout): MoveShader {
  const model = modelOf(layout);
  if (model.headDim % VALUES_PER_WORD !== 0) {
    throw new PagedKvError(
      'INVALID_OPTION',
      `quantize on a GPU needs a headDim that is a multiple of ${VALUES_PER_WORD}, got ${model.headDim}`,
    );
  }
  const heads = layout.blockSize * model.kvHeads;
  const plane = layout.groups[0]!.planes[0]!;
  const constants = `
const HEADS = ${heads}u;
const HEAD_WORDS = ${(model.headDim * BYTES_PER_ELEMENT[model.dtype]) / WORD_BYTES}u;
const VALUE_WORDS = ${model.headDim / VALUES_PER_WORD}u;
const SCALES = ${scalesOffset(layout, plane) / WORD_BYTES}u;
`;
  const elements = model.dtype === 'f32' ? FLOATS : HALVES;
  return {
    code: common('u32') + constants + elements + QUANTIZING,
    unitBytes: WORD_BYTES,
    workgroups: () => Math.ceil(heads / WORKGROUP),
  };
}

/** In int8. */
const VALUES_PER_WORD = 4;

/** `unit` is what is moved at once, and counted in, of memory. */
const common = (unit: 'u32' | 'vec4u'): string => /* wgsl */ `
struct Plane { base: u32, block: u32, recordOffset: u32, token: u32 }
struct Shape { group: u32, firstPlane: u32, records: u32, unused: u32, planes: array<Plane> }

@group(0) @binding(0) var<storage, read> shape: Shape;
@group(0) @binding(1) var<storage, read> list: array<u32>;
@group(0) @binding(2) var<storage, read_write> pool: array<${unit}>;
@group(0) @binding(3) var<storage, read_write> records: array<${unit}>;

const stride = ${WORKGROUP}u;

fn planeOf(index: u32) -> Plane {
  let first = list[${HEADER_WORDS}u + shape.group];
  return shape.planes[max(first, shape.firstPlane) - shape.firstPlane + index];
}

fn packed(record: u32, plane: Plane) -> u32 {
  return record * list[0] + plane.recordOffset - list[1];
}

@compute @workgroup_size(${WORKGROUP})
fn copyWithin(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
              @builtin(local_invocation_index) thread: u32) {
  let at = shape.records + id.y * ${COPY_WORDS}u;
  if (list[at] != shape.group) { return; }
  let plane = planeOf(id.z);
  let source = plane.base + list[at + 1u] * plane.block;
  let to = plane.base + list[at + 2u] * plane.block;
  let units = list[at + 3u] * plane.token;
  for (var i = id.x * stride + thread; i < units; i += count.x * stride) {
    pool[to + i] = pool[source + i];
  }
}

`;

const PLAIN = /* wgsl */ `
@compute @workgroup_size(${WORKGROUP})
fn gather(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
          @builtin(local_invocation_index) thread: u32) {
  let plane = planeOf(id.z);
  let source = plane.base + list[shape.records + id.y * ${MOVE_WORDS}u + 1u] * plane.block;
  let to = packed(id.y, plane);
  for (var i = id.x * stride + thread; i < plane.block; i += count.x * stride) {
    records[to + i] = pool[source + i];
  }
}

@compute @workgroup_size(${WORKGROUP})
fn scatter(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) thread: u32) {
  let plane = planeOf(id.z);
  let source = packed(id.y, plane);
  let to = plane.base + list[shape.records + id.y * ${MOVE_WORDS}u + 2u] * plane.block;
  for (var i = id.x * stride + thread; i < plane.block; i += count.x * stride) {
    pool[to + i] = records[source + i];
  }
}
`;

/** Four values of a head, as f32, and back; and the magnitude of the largest of a word's, as bits of f32. */
const FLOATS = /* wgsl */ `
const NAN = 0x7fc00000u;

fn magnitude(word: u32) -> u32 { return word & 0x7fffffffu; }

fn widened(most: u32) -> u32 { return most; }

fn readFour(at: u32) -> vec4f {
  return bitcast<vec4f>(vec4u(pool[at], pool[at + 1u], pool[at + 2u], pool[at + 3u]));
}

fn writeFour(at: u32, values: vec4f) {
  let words = bitcast<vec4u>(values);
  for (var i = 0u; i < 4u; i++) { pool[at + i] = words[i]; }
}
`;

const HALVES = /* wgsl */ `
const NAN = 0x7e007e00u;
const LARGEST = vec4f(65504);

fn magnitude(word: u32) -> u32 { return max(word & 0x7fffu, (word >> 16u) & 0x7fffu); }

fn widened(most: u32) -> u32 {
  if (most >= 0x7c00u) { return 0x7f800000u | ((most & 0x3ffu) << 13u); }
  return bitcast<u32>(unpack2x16float(most).x);
}

fn readFour(at: u32) -> vec4f {
  return vec4f(unpack2x16float(pool[at]), unpack2x16float(pool[at + 1u]));
}

fn writeFour(at: u32, values: vec4f) {
  let bounded = clamp(values, -LARGEST, LARGEST);
  pool[at] = pack2x16float(bounded.xy);
  pool[at + 1u] = pack2x16float(bounded.zw);
}
`;

/** An invocation has a head. `native/arena/scale.h` has the same limits: what is not finite is kept as a scale. */
const QUANTIZING = /* wgsl */ `
const INFINITE = 0x7f800000u;
const SMALLEST = 4e-37f;
const FOUR_WORDS = HEAD_WORDS / VALUE_WORDS;

@compute @workgroup_size(${WORKGROUP})
fn gather(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = id.x * stride + thread;
  if (head >= HEADS) { return; }
  let plane = planeOf(id.z);
  let block = list[shape.records + id.y * ${MOVE_WORDS}u + 1u];
  let source = plane.base + block * plane.block + head * HEAD_WORDS;
  let to = packed(id.y, plane);
  var most = 0u;
  for (var i = 0u; i < HEAD_WORDS; i++) { most = max(most, magnitude(pool[source + i])); }
  let largest = widened(most);
  var step = largest;
  var inverse = 0f;
  if (largest < INFINITE) {
    step = 0u;
    let value = bitcast<f32>(largest);
    if (value >= SMALLEST) {
      step = bitcast<u32>(value / 127f);
      inverse = 127f / value;
    }
  }
  records[to + SCALES + head] = step;
  for (var i = 0u; i < VALUE_WORDS; i++) {
    var word = 0u;
    if (inverse > 0f) {
      let scaled = round(readFour(source + i * FOUR_WORDS) * inverse);
      let whole = vec4u(vec4i(clamp(scaled, vec4f(-127), vec4f(127)))) & vec4u(0xffu);
      word = whole.x | (whole.y << 8u) | (whole.z << 16u) | (whole.w << 24u);
    }
    records[to + head * VALUE_WORDS + i] = word;
  }
}

@compute @workgroup_size(${WORKGROUP})
fn scatter(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let head = id.x * stride + thread;
  if (head >= HEADS) { return; }
  let plane = planeOf(id.z);
  let block = list[shape.records + id.y * ${MOVE_WORDS}u + 2u];
  let source = packed(id.y, plane);
  let to = plane.base + block * plane.block + head * HEAD_WORDS;
  let bits = records[source + SCALES + head];
  if ((bits & 0x7fffffffu) >= INFINITE) {
    for (var i = 0u; i < HEAD_WORDS; i++) { pool[to + i] = NAN; }
    return;
  }
  let step = bitcast<f32>(bits);
  for (var i = 0u; i < VALUE_WORDS; i++) {
    let word = records[source + head * VALUE_WORDS + i];
    let whole = vec4i(vec4u(word << 24u, word << 16u, word << 8u, word)) >> vec4u(24u);
    writeFour(to + i * FOUR_WORDS, vec4f(whole) * step);
  }
}
`;
