/**
 * A small Llama as an ONNX graph in f16. Its attention is ONNX Runtime's `PagedAttention`, which writes each
 * query token's key and value through the block table, rotates queries and keys, and attends.
 */
import type { Attention, KvCacheManager } from '../../src/index.js';
import { projectionWidth, type ModelConfig } from '../chat/model/config.js';
import { ropeTables } from '../chat/model/rope.js';
import type { LayerWeights, Weights } from '../chat/model/weights.js';
import { Graph } from './graph.js';
import { addPlaneInputs, type BlockShape } from './kv-graphs.js';
import type { KvMemory } from './kv-memory.js';
import { createSession, ints, valuesOf, type InferenceSession } from './runtime.js';
import { addTableInputs, pagedAttention, StepTables } from './tables.js';

export class PagedModel {
  readonly #session: InferenceSession;
  readonly #memory: KvMemory;
  readonly #tables: StepTables;

  private constructor(session: InferenceSession, memory: KvMemory, tables: StepTables) {
    this.#session = session;
    this.#memory = memory;
    this.#tables = tables;
  }

  /** `maxTokens`: of one sequence. */
  static async create(
    kv: KvCacheManager,
    memory: KvMemory,
    config: ModelConfig,
    weights: Weights,
    maxTokens: number,
  ): Promise<PagedModel> {
    const model = modelGraph(config, weights, memory.shape, maxTokens);
    return new PagedModel(await createSession(model, 'cpu'), memory, new StepTables(kv));
  }

  /**
   * One pass over the query tokens of a step that was executed. Returns `[wanted, vocabulary]`: the logits after
   * the query tokens in `wanted`, of which there is at least one.
   */
  async forward(ids: Int32Array, wanted: Int32Array, attention: Attention): Promise<Float32Array> {
    const { logits } = await this.#session.run({
      ids: ints(ids),
      wanted: ints(wanted),
      ...this.#tables.feeds(attention),
      ...this.#memory.planes,
    });
    return valuesOf(logits!);
  }
}

function modelGraph(
  config: ModelConfig,
  weights: Weights,
  shape: BlockShape,
  maxTokens: number,
): Uint8Array {
  const { hidden, vocabulary, epsilon } = config;
  const graph = new Graph();
  const ids = graph.input('ids', 'int32', ['tokens']);
  const wanted = graph.input('wanted', 'int32', ['wanted']);
  const tables = addTableInputs(graph);
  const planes = addPlaneInputs(graph, shape);
  const rope = addRope(graph, config, maxTokens);

  let stream = graph.node('Gather', [graph.weights(weights.embedding, [vocabulary, hidden]), ids]);
  weights.layers.forEach((layer, index) => {
    const { queries, keys, values } = project(graph, config, layer, stream);
    const attended = pagedAttention(graph, {
      ...{ queries, keys, values, tables, rope },
      ...{ keyPlane: planes.keys[index]!, valuePlane: planes.values[index]! },
      ...{ heads: config.heads, kvHeads: config.kvHeads },
    });
    const output = graph.weights(layer.output, [config.heads * config.headDim, hidden]);
    stream = graph.node('Add', [stream, graph.node('MatMul', [attended, output])]);
    stream = graph.node('Add', [stream, feedForward(graph, config, layer, stream)]);
  });
  const last = norm(graph, graph.node('Gather', [stream, wanted]), weights.norm, epsilon);
  const head = graph.weights(weights.head, [hidden, vocabulary]);
  graph.output('logits', graph.node('MatMul', [last, head]), ['wanted', vocabulary]);
  return graph.encode();
}

/** Cosines and sines, `[maxTokens, headDim / 2]`. */
function addRope(graph: Graph, config: ModelConfig, maxTokens: number): [string, string] {
  const { cosines, sines } = ropeTables(config, maxTokens);
  const dims = [maxTokens, config.headDim / 2];
  return [graph.weights(cosines, dims), graph.weights(sines, dims)];
}

function project(
  graph: Graph,
  config: ModelConfig,
  layer: LayerWeights,
  stream: string,
): { queries: string; keys: string; values: string } {
  const { hidden, heads, kvHeads, headDim, epsilon } = config;
  const normed = norm(graph, stream, layer.attentionNorm, epsilon);
  const matrix = graph.weights(layer.projection, [hidden, projectionWidth(config)]);
  const sizes = graph.integers(heads * headDim, kvHeads * headDim, kvHeads * headDim);
  const projected = graph.node('MatMul', [normed, matrix]);
  const [queries, keys, values] = graph.nodes('Split', [projected, sizes], 3, { axis: 1 });
  return { queries: queries!, keys: keys!, values: values! };
}

function feedForward(
  graph: Graph,
  config: ModelConfig,
  layer: LayerWeights,
  stream: string,
): string {
  const { hidden, inner, epsilon } = config;
  const normed = norm(graph, stream, layer.feedForwardNorm, epsilon);
  const gateUp = graph.weights(layer.gateUp, [hidden, 2 * inner]);
  const sizes = graph.integers(inner, inner);
  const projected = graph.node('MatMul', [normed, gateUp]);
  const [gate, up] = graph.nodes('Split', [projected, sizes], 2, { axis: 1 });
  const swish = graph.node('Mul', [gate!, graph.node('Sigmoid', [gate!])]);
  const gated = graph.node('Mul', [swish, up!]);
  return graph.node('MatMul', [gated, graph.weights(layer.down, [inner, hidden])]);
}

/** Divides each row by its root mean square. */
function norm(graph: Graph, rows: string, gain: Float32Array, epsilon: number): string {
  const inputs = [rows, graph.weights(gain, [gain.length])];
  return graph.node('SimplifiedLayerNormalization', inputs, { axis: -1, epsilon });
}
