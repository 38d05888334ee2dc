/** Writing keys and values to their slots. */
import { activationElements, enabled, type KernelShape } from './attend-shader.js';
import { elements, partWidth } from './elements.js';

const WORKGROUP = 64;

/** Workgroups that write one token's keys and values. */
export function writeWorkgroups({ kvHeads, headDim }: KernelShape): number {
  return Math.ceil((kvHeads * headDim) / partWidth(headDim) / WORKGROUP);
}

/**
 * Each invocation writes one vector of one token's key and value to the token's slot.
 * Dispatch: vectors of a token, tokens, rows of tokens.
 */
export function writeShader(shape: KernelShape): string {
  const width = partWidth(shape.headDim);
  const memory = elements(shape.dtype, width, shape.hasHalves);
  const given = activationElements(shape);
  // The same type on both sides is copied bit by bit, NaN payloads included.
  const convert = (x: string): string =>
    shape.dtype === shape.activations ? x : memory.store(given.load(x));
  return /* wgsl */ `${enabled(shape, false)}
@group(0) @binding(0) var<storage, read> lists: array<i32>;
@group(0) @binding(1) var<storage, read> slotMapping: array<i32>;
@group(0) @binding(2) var<storage, read_write> keyPlane: array<${memory.stored}>;
@group(0) @binding(3) var<storage, read_write> valuePlane: array<${memory.stored}>;
@group(1) @binding(0) var<storage, read> key: array<${given.stored}>;
@group(1) @binding(1) var<storage, read> value: array<${given.stored}>;

const tokenVectors = ${(shape.kvHeads * shape.headDim) / width}u;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let token = id.z * ${shape.itemsPerRow}u + id.y;
  if (token >= u32(lists[${shape.tokensAt}])) { return; }
  let slot = slotMapping[token];
  let vector = id.x * ${WORKGROUP}u + thread;
  if (slot < 0 || vector >= tokenVectors) { return; }
  let source = token * tokenVectors + vector;
  let to = u32(slot) * tokenVectors + vector;
  keyPlane[to] = ${convert('key[source]')};
  valuePlane[to] = ${convert('value[source]')};
}
`;
}
