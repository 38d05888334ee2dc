/** The shape of a Llama: what every kernel, the weights and the cache's layout are sized by. */
import { UsageError } from '../usage.js';

export interface ModelConfig {
  readonly layers: number;
  /** Width of the residual stream. */
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of the gated feed-forward. */
  readonly inner: number;
  /** Ids 0–255 are bytes; a model may have more. */
  readonly vocabulary: number;
  readonly ropeTheta: number;
  readonly epsilon: number;
}

/** What runs when no `--model` is given: small enough for a software GPU on two cores. */
export const smallModel: ModelConfig = {
  layers: 2,
  hidden: 64,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  inner: 128,
  vocabulary: 256,
  ropeTheta: 10_000,
  epsilon: 1e-5,
};

/** Width of one row of the fused query, key and value projection. */
export function projectionWidth(config: ModelConfig): number {
  return (config.heads + 2 * config.kvHeads) * config.headDim;
}

/** Bytes that a token's keys and values take in all layers, in f32. */
export function keyValueBytes({ layers, kvHeads, headDim }: ModelConfig): number {
  return layers * 2 * kvHeads * headDim * Float32Array.BYTES_PER_ELEMENT;
}

export function describeModel(config: ModelConfig): string {
  const { layers, hidden, heads, kvHeads, headDim, inner, vocabulary } = config;
  return (
    `${layers} layers, hidden ${hidden}, ${heads} heads of ${headDim} over ${kvHeads} KV heads, ` +
    `feed-forward ${inner}, vocabulary ${vocabulary}`
  );
}

/** Throws when the kernels here cannot run a model of this shape. */
export function checkModel(config: ModelConfig): void {
  const multipleOfFour = ['hidden', 'headDim', 'inner', 'vocabulary'] as const;
  for (const name of multipleOfFour) {
    if (config[name] % 4 !== 0)
      throw new UsageError(`the model's ${name} is ${config[name]}: it must be a multiple of 4`);
  }
  if (config.heads % config.kvHeads !== 0) {
    throw new UsageError(`${config.heads} heads cannot share ${config.kvHeads} KV heads evenly`);
  }
  if (config.vocabulary < 256) {
    throw new UsageError(`the model's vocabulary has ${config.vocabulary} ids: bytes need 256`);
  }
}
