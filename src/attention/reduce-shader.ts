/** Puts the parts of a split range together. A workgroup does so for one query token and head. */
import {
  attendCommon,
  activationElements,
  enabled,
  loadStatistics,
  type KernelShape,
} from './attend-shader.js';
import { HEADER_VECTORS, ITEM_VECTORS } from './work.js';

/** Invocations of a workgroup: each has one part of the head, and the next after so many. */
export const REDUCE_WORKGROUP = 32;

/** Dispatch: query heads, reductions, rows of reductions. */
export function reduceShader(shape: KernelShape): string {
  return /* wgsl */ `${enabled(shape, false)}${attendCommon(shape, undefined)}
@compute @workgroup_size(${REDUCE_WORKGROUP})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) thread: u32) {
  let index = id.z * ${shape.itemsPerRow}u + id.y;
  let counts = work[1];
  if (index >= counts.z) { return; }
  let reduction = work[${HEADER_VECTORS}u + (counts.x + counts.y) * ${ITEM_VECTORS}u + index];
  let first = (reduction.y + id.x) * partialStride;
  let stride = reduction.z * partialStride;
  let end = first + reduction.w * stride;

  var largest = lowest;
  for (var at = first; at < end; at += stride) {
    largest = max(largest, ${loadStatistics(shape.headDim, 'at')}.x);
  }
  for (var part = thread; part < headParts; part += ${REDUCE_WORKGROUP}u) {
    var weights = 0.0;
    var sum = Vector(0.0);
    for (var at = first; at < end; at += stride) {
      let statistics = ${loadStatistics(shape.headDim, 'at')};
      let fade = exp2(statistics.x - largest);
      weights += statistics.y * fade;
      sum += partials[at + part] * fade;
    }
    output[(reduction.x * queryHeads + id.x) * headParts + part] = ${activationElements(shape).store('(sum / weights)')};
  }
}
`;
}
