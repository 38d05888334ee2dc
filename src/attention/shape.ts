/** The shape of an attention, checked once: what the host's and the GPU's implementation share. */
import { findPlane, modelOf } from '../device/layout.js';
import { PagedKvError } from '../errors.js';
import type { CacheLayout, ModelShape } from '../plan.js';
import { readInteger, show, type Given } from '../validate.js';

const MAX_QUERY_HEADS = 65535;

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

/** The names that every attention knows. */
export const SHAPE_NAMES = ['queryHeads', 'scale'] as const satisfies (keyof AttentionOptions)[];

/**
 * Throws `NO_MODEL` for a layout of bare groups, `ATTENTION_SHAPE` for heads that do not divide, and
 * `INVALID_OPTION`.
 */
export function attentionShape(
  layout: CacheLayout,
  given: Given<keyof AttentionOptions>,
): AttentionShape {
  const model = modelOf(layout);
  const queryHeads = readInteger('queryHeads', given.queryHeads, 1, MAX_QUERY_HEADS);
  const scale = readScale(given.scale, 1 / Math.sqrt(model.headDim));
  const headsPerKv = queryHeads / model.kvHeads;
  if (!Number.isInteger(headsPerKv)) {
    throw new PagedKvError(
      'ATTENTION_SHAPE',
      `${queryHeads} query heads are not a multiple of the model's ${model.kvHeads} KV heads`,
    );
  }
  return { ...model, queryHeads, headsPerKv, scale };
}

function readScale(value: unknown, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (Number.isFinite(value)) return value as number;
  throw new PagedKvError('INVALID_OPTION', `scale must be a finite number, got ${show(value)}`);
}

/** The group whose tables serve a layer. Throws `UNKNOWN_PLANE` where the layer keeps no keys and values. */
export function groupOfLayer(layout: CacheLayout, layer: number): number {
  findPlane(layout, layer, 'value');
  return findPlane(layout, layer, 'key').group;
}
