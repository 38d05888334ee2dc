/** The weights of a model, as the kernels want them: f32, every matrix `[inputs, outputs]`. */
import { fillNormal, keyOf } from '../random.js';
import { type ModelConfig, projectionWidth } from './config.js';

export interface LayerWeights {
  readonly attentionNorm: Float32Array;
  /** `[hidden, queries + keys + values]`. */
  readonly projection: Float32Array;
  /** `[heads * headDim, hidden]`. */
  readonly output: Float32Array;
  readonly feedForwardNorm: Float32Array;
  /** `[hidden, gate + up]`. */
  readonly gateUp: Float32Array;
  /** `[inner, hidden]`. */
  readonly down: Float32Array;
}

export interface Weights {
  /** `[vocabulary, hidden]`. */
  readonly embedding: Float32Array;
  readonly layers: readonly LayerWeights[];
  readonly norm: Float32Array;
  /** `[hidden, vocabulary]`. */
  readonly head: Float32Array;
}

/**
 * Attention scores this sharp make a token look at a few others and not at the average of all, so that
 * one wrong slot shows.
 */
const scoreSharpness = 1.7;
/** Spread of the logits: at temperature 0.8 a few dozen bytes stay likely, and context decides which. */
const logitSpread = 2.5;

/** Weights from a seed. Residual updates are as large as the stream, so that context reaches the logits. */
export function seededWeights(config: ModelConfig, seed: number): Weights {
  const { hidden, heads, headDim, inner, vocabulary } = config;
  let made = 0;
  const matrix = (inputs: number, outputs: number, gain: number): Float32Array =>
    fillNormal(new Float32Array(inputs * outputs), keyOf(seed, made++), gain / Math.sqrt(inputs));
  const ones = (): Float32Array => new Float32Array(hidden).fill(1);

  const embedding = fillNormal(new Float32Array(vocabulary * hidden), keyOf(seed, made++), 1);
  const layers = Array.from({ length: config.layers }, (): LayerWeights => {
    const projection = matrix(hidden, projectionWidth(config), 1);
    sharpenScores(projection, config);
    return {
      attentionNorm: ones(),
      projection,
      output: matrix(heads * headDim, hidden, 1.5),
      feedForwardNorm: ones(),
      gateUp: matrix(hidden, 2 * inner, 1.2),
      down: matrix(inner, hidden, 1.5),
    };
  });
  return { embedding, layers, norm: ones(), head: matrix(hidden, vocabulary, logitSpread) };
}

/** Scales the columns of queries and keys. */
function sharpenScores(projection: Float32Array, config: ModelConfig): void {
  const width = projectionWidth(config);
  const sharp = (config.heads + config.kvHeads) * config.headDim;
  for (let i = 0; i < projection.length; i++) {
    if (i % width < sharp) projection[i] = projection[i]! * Math.sqrt(scoreSharpness);
  }
}

/** Bytes of all the weights. */
export function weightBytes(weights: Weights): number {
  let bytes = weights.embedding.byteLength + weights.norm.byteLength + weights.head.byteLength;
  for (const layer of weights.layers) {
    for (const tensor of Object.values(layer) as Float32Array[]) bytes += tensor.byteLength;
  }
  return bytes;
}
