/** The shape of an attention, checked once: what the host's and the GPU's implementation share. */
import { findPlane, modelOf } from '../device/layout.js';
import { PagedKvError } from '../errors.js';
import type { CacheLayout, ModelShape } from '../plan.js';

export interface AttentionOptions {
  /** Query heads: a multiple of the model's KV heads, which serve them in equal, adjacent groups. */
  readonly queryHeads: number;
  /** What scores are multiplied by before the softmax. Default `1 / sqrt(headDim)`. */
  readonly scale?: number;
}

export interface AttentionShape extends ModelShape {
  readonly queryHeads: number;
  /** Query heads to a KV head. */
  readonly headsPerKv: number;
  readonly scale: number;
}

/** Throws `NO_MODEL` for a layout of bare groups, and `ATTENTION_SHAPE` for heads that do not divide. */
export function attentionShape(layout: CacheLayout, options: AttentionOptions): AttentionShape {
  const model = modelOf(layout);
  const { queryHeads, scale = 1 / Math.sqrt(model.headDim) } = options;
  const headsPerKv = queryHeads / model.kvHeads;
  if (!Number.isInteger(headsPerKv) || headsPerKv < 1) {
    throw new PagedKvError(
      'ATTENTION_SHAPE',
      `${queryHeads} query heads are not a multiple of the model's ${model.kvHeads} KV heads`,
    );
  }
  if (!Number.isFinite(scale)) {
    throw new PagedKvError('ATTENTION_SHAPE', `the scale is ${scale}`);
  }
  return { ...model, queryHeads, headsPerKv, scale };
}

/** The group whose tables serve a layer. Throws `UNKNOWN_PLANE` where the layer keeps no keys and values. */
export function groupOfLayer(layout: CacheLayout, layer: number): number {
  findPlane(layout, layer, 'value');
  return findPlane(layout, layer, 'key').group;
}
