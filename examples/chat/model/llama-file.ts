/** A Llama from a safetensors file with the tensor names of Hugging Face. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { checkModel, type ModelConfig } from './config.js';
import { SafetensorsFile, type Tensor } from './safetensors.js';
import type { LayerWeights, Weights } from './weights.js';

/** The keys of a `config.json` that matter here. */
interface JsonConfig {
  readonly num_attention_heads?: number;
  readonly num_key_value_heads?: number;
  readonly head_dim?: number;
  readonly rope_theta?: number;
  readonly rms_norm_eps?: number;
  readonly hidden_act?: string;
  readonly rope_scaling?: unknown;
}

/** Reads weights and shape; a `config.json` beside the file says what shapes do not tell. */
export function readModel(path: string): { config: ModelConfig; weights: Weights } {
  const file = new SafetensorsFile(path);
  const config = inferConfig(file, readConfig(file, join(dirname(path), 'config.json')));
  checkModel(config);
  return { config, weights: readWeights(file, config) };
}

function readConfig(file: SafetensorsFile, path: string): JsonConfig {
  if (!existsSync(path)) return {};
  const config = JSON.parse(readFileSync(path, 'utf8')) as JsonConfig;
  if (config.hidden_act !== undefined && config.hidden_act !== 'silu') {
    throw file.error(`hidden_act is '${config.hidden_act}', only 'silu' is here`);
  }
  if (config.rope_scaling !== undefined && config.rope_scaling !== null) {
    throw file.error('rope_scaling is set, only plain RoPE is here');
  }
  return config;
}

function inferConfig(file: SafetensorsFile, json: JsonConfig): ModelConfig {
  const rows = (name: string): number => file.shape(name)[0] ?? 0;
  const [vocabulary = 0, hidden = 0] = file.shape('model.embed_tokens.weight');
  let layers = 0;
  while (file.has(`model.layers.${layers}.self_attn.q_proj.weight`)) layers++;
  if (layers === 0) throw file.error('there is no model.layers.0.self_attn.q_proj.weight');
  const bias = file.names().find((name) => name.endsWith('.bias'));
  if (bias !== undefined) throw file.error(`${bias}: biases are not supported`);

  const queryRows = rows('model.layers.0.self_attn.q_proj.weight');
  const keyRows = rows('model.layers.0.self_attn.k_proj.weight');
  const headDim =
    json.head_dim ??
    (json.num_attention_heads ? hidden / json.num_attention_heads : guessHeadDim(hidden, keyRows));
  const heads = queryRows / headDim;
  const kvHeads = keyRows / headDim;
  if (!Number.isInteger(heads) || !Number.isInteger(kvHeads)) {
    throw file.error(`${queryRows} query and ${keyRows} key rows are no whole heads of ${headDim}`);
  }
  if (
    (json.num_attention_heads ?? heads) !== heads ||
    (json.num_key_value_heads ?? kvHeads) !== kvHeads
  ) {
    throw file.error(
      `config.json names other head counts than the ${heads} and ${kvHeads} of the tensors`,
    );
  }
  return {
    layers,
    hidden,
    heads,
    kvHeads,
    headDim,
    inner: rows('model.layers.0.mlp.gate_proj.weight'),
    vocabulary,
    ropeTheta: json.rope_theta ?? 10_000,
    epsilon: json.rms_norm_eps ?? 1e-5,
  };
}

/** Shapes do not tell where one head ends: 128 in wide models, 64 in others, less where that does not divide. */
function guessHeadDim(hidden: number, keyRows: number): number {
  const likely = hidden >= 2048 ? [128, 64, 32, 16, 8] : [64, 32, 16, 8];
  return likely.find((dim) => keyRows % dim === 0) ?? keyRows;
}

function readWeights(file: SafetensorsFile, config: ModelConfig): Weights {
  const { hidden, heads, kvHeads, headDim, inner, vocabulary } = config;
  const vector = (name: string): Float32Array => file.read(name, [hidden]).data;
  const layer = (index: number): LayerWeights => {
    const tensor = (name: string, outputs: number, inputs: number): Tensor =>
      file.read(`model.layers.${index}.${name}.weight`, [outputs, inputs]);
    return {
      attentionNorm: vector(`model.layers.${index}.input_layernorm.weight`),
      projection: sideBySide([
        tensor('self_attn.q_proj', heads * headDim, hidden),
        tensor('self_attn.k_proj', kvHeads * headDim, hidden),
        tensor('self_attn.v_proj', kvHeads * headDim, hidden),
      ]),
      output: sideBySide([tensor('self_attn.o_proj', hidden, heads * headDim)]),
      feedForwardNorm: vector(`model.layers.${index}.post_attention_layernorm.weight`),
      gateUp: sideBySide([
        tensor('mlp.gate_proj', inner, hidden),
        tensor('mlp.up_proj', inner, hidden),
      ]),
      down: sideBySide([tensor('mlp.down_proj', hidden, inner)]),
    };
  };
  const embedding = file.read('model.embed_tokens.weight', [vocabulary, hidden]);
  const head = file.has('lm_head.weight')
    ? file.read('lm_head.weight', [vocabulary, hidden])
    : embedding;
  return {
    embedding: embedding.data,
    layers: Array.from({ length: config.layers }, (_, index) => layer(index)),
    norm: vector('model.norm.weight'),
    head: sideBySide([head]),
  };
}

/** Transposes matrices `[outputs, inputs]` and lays them side by side: `[inputs, sum of outputs]`. */
function sideBySide(tensors: readonly Tensor[]): Float32Array {
  const inputs = tensors[0]!.shape[1]!;
  const width = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const out = new Float32Array(inputs * width);
  let column = 0;
  for (const { shape, data } of tensors) {
    for (let output = 0; output < shape[0]!; output++, column++) {
      for (let input = 0; input < inputs; input++) {
        out[input * width + column] = data[output * inputs + input]!;
      }
    }
  }
  return out;
}
