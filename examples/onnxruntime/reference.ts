/**
 * The same texts once more, by the plainest of engines: f32 in JavaScript, one contiguous cache, no pagedkv and no
 * ONNX Runtime. Each token is drawn again after the tokens that the loop had drawn before it.
 */
import { fromHalf, toHalf } from '../../src/attention/half.js';
import type { ModelConfig } from '../chat/model/config.js';
import { HostContiguousEngine } from '../chat/model/host-contiguous.js';
import type { LayerWeights, Weights } from '../chat/model/weights.js';
import { draw } from '../chat/sampling.js';
import type { History } from './loop.js';

export interface Comparison {
  readonly tokens: number;
  /** Tokens that the reference draws otherwise, though it is certain: `name` and position. */
  readonly different: readonly string[];
  /** Tokens that it draws otherwise, by less than f16 can tell. */
  readonly ties: number;
  /** Of the logits that a token was drawn from: the norm of the error over that of the reference. The largest. */
  readonly error: number;
}

/**
 * What f16 may do to a logit, of the norm of a row: it rounds by 5e-4, in every layer, and a row has a few
 * hundred logits, of which one may be off by several times the mean.
 */
const LOGIT_ERROR = 2e-3;

/** Rounded to f16, as the graph holds them. */
export function roundWeights(weights: Weights): Weights {
  const round = (values: Float32Array): Float32Array =>
    values.map((value) => fromHalf(toHalf(value)));
  const roundLayer = (layer: LayerWeights): LayerWeights => ({
    attentionNorm: round(layer.attentionNorm),
    projection: round(layer.projection),
    output: round(layer.output),
    feedForwardNorm: round(layer.feedForwardNorm),
    gateUp: round(layer.gateUp),
    down: round(layer.down),
  });
  return {
    embedding: round(weights.embedding),
    layers: weights.layers.map(roundLayer),
    norm: round(weights.norm),
    head: round(weights.head),
  };
}

export async function compare(
  histories: readonly History[],
  config: ModelConfig,
  weights: Weights,
  temperature: number,
): Promise<Comparison> {
  const longest = Math.max(...histories.map(({ tokens }) => tokens.length));
  const limits = { passTokens: longest, passSequences: longest, sequenceTokens: longest };
  const engine = new HostContiguousEngine(config, weights, limits, 1);
  const { vocabulary } = config;
  const different: string[] = [];
  let tokens = 0;
  let ties = 0;
  let error = 0;
  for (const history of histories) {
    const logits = await logitsOf(history, engine);
    let row = 0;
    for (const [position, { id, logits: own }] of history.drawn) {
      const again = draw(logits, row, vocabulary, temperature, history.key, position);
      const wanted = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
      const size = norm(wanted);
      if (again.id !== id) {
        if (again.margin < 2 * LOGIT_ERROR * size) ties++;
        else different.push(`${history.name} ${position}`);
      }
      error = Math.max(error, norm(wanted.map((logit, i) => logit - own[i]!)) / size);
      tokens++;
      row++;
    }
  }
  return { tokens, different, ties, error };
}

/** A row for each token drawn. */
function logitsOf({ tokens, drawn }: History, engine: HostContiguousEngine): Promise<Float32Array> {
  const ids = Uint32Array.from(tokens);
  const positions = ids.map((_, position) => position);
  const wanted = Uint32Array.from(drawn.keys(), (position) => position - 1);
  return engine.forward({ ids, positions, wanted }, new Uint32Array(ids.length));
}

function norm(values: Float32Array): number {
  return Math.hypot(...values);
}
