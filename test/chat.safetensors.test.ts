import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readModel } from '../examples/chat/model/llama-file.js';
import { fillNormal, keyOf } from '../examples/chat/random.js';

const shape = {
  hidden: 16,
  heads: 4,
  kvHeads: 2,
  headDim: 4,
  inner: 8,
  vocabulary: 256,
  layers: 2,
};
const json = {
  num_attention_heads: 4,
  num_key_value_heads: 2,
  rope_theta: 5000,
  rms_norm_eps: 1e-6,
};

/** Names of Hugging Face, `[outputs, inputs]`. */
function tensorShapes(): Record<string, number[]> {
  const { hidden, heads, kvHeads, headDim, inner, vocabulary, layers } = shape;
  const shapes: Record<string, number[]> = {
    'model.embed_tokens.weight': [vocabulary, hidden],
    'model.norm.weight': [hidden],
    'lm_head.weight': [vocabulary, hidden],
  };
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`;
    shapes[`${layer}.input_layernorm.weight`] = [hidden];
    shapes[`${layer}.post_attention_layernorm.weight`] = [hidden];
    shapes[`${layer}.self_attn.q_proj.weight`] = [heads * headDim, hidden];
    shapes[`${layer}.self_attn.k_proj.weight`] = [kvHeads * headDim, hidden];
    shapes[`${layer}.self_attn.v_proj.weight`] = [kvHeads * headDim, hidden];
    shapes[`${layer}.self_attn.o_proj.weight`] = [hidden, heads * headDim];
    shapes[`${layer}.mlp.gate_proj.weight`] = [inner, hidden];
    shapes[`${layer}.mlp.up_proj.weight`] = [inner, hidden];
    shapes[`${layer}.mlp.down_proj.weight`] = [hidden, inner];
  }
  return shapes;
}

/** Values that f16 and bf16 have exactly. */
function values(shapes: Record<string, number[]>): Map<string, Float32Array> {
  return new Map(
    Object.entries(shapes).map(([name, lengths], index) => {
      const data = fillNormal(new Float32Array(lengths.reduce((a, b) => a * b)), keyOf(index), 40);
      return [name, data.map((value) => Math.round(value) / 32 + 0)];
    }),
  );
}

const encoders: Record<string, (data: Float32Array) => Uint8Array> = {
  F32: (data) => new Uint8Array(data.slice().buffer),
  BF16: (data) => {
    const bits = new Uint32Array(data.slice().buffer);
    return new Uint8Array(Uint16Array.from(bits, (word) => word >>> 16).buffer);
  },
  F16: (data) => new Uint8Array(Uint16Array.from(data, toHalf).buffer),
};

/** Of a value that f16 has exactly and whose exponent is normal, or zero. */
function toHalf(value: number): number {
  if (value === 0) return 0;
  const sign = value < 0 ? 0x8000 : 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  return sign | ((exponent + 15) << 10) | ((Math.abs(value) / 2 ** exponent - 1) * 1024);
}

function writeModel(
  path: string,
  dtype: string,
  shapes = tensorShapes(),
): Map<string, Float32Array> {
  const tensors = values(shapes);
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, data] of tensors) {
    const bytes = encoders[dtype]!(data);
    header[name] = { dtype, shape: shapes[name], data_offsets: [offset, offset + bytes.length] };
    parts.push(bytes);
    offset += bytes.length;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([length, text, ...parts]));
  return tensors;
}

describe('a model from a safetensors file', () => {
  let folder = '';
  let path = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'chat-model-'));
    path = join(folder, 'model.safetensors');
    writeFileSync(join(folder, 'config.json'), JSON.stringify(json));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it.each(['F32', 'F16', 'BF16'])('is read from %s', (dtype) => {
    const tensors = writeModel(path, dtype);
    const { config, weights } = readModel(path);
    expect(config).toEqual({ ...shape, ropeTheta: 5000, epsilon: 1e-6 });
    expect(weights.norm).toEqual(tensors.get('model.norm.weight'));
    expect(weights.embedding).toEqual(tensors.get('model.embed_tokens.weight'));
    // Output 3 of the key projection, input 5: a column after those of the queries.
    const { projection } = weights.layers[1]!;
    const keys = tensors.get('model.layers.1.self_attn.k_proj.weight')!;
    expect(projection[5 * (4 + 2 * 2) * 4 + 16 + 3]).toBe(keys[3 * 16 + 5]);
  });

  it('ties the head to the embedding where there is none', () => {
    const shapes = Object.entries(tensorShapes()).filter(([name]) => name !== 'lm_head.weight');
    const tensors = writeModel(path, 'F32', Object.fromEntries(shapes));
    const { weights } = readModel(path);
    expect(weights.head[7 * 256 + 200]).toBe(
      tensors.get('model.embed_tokens.weight')![200 * 16 + 7],
    );
  });

  it('guesses the shape of heads without a config.json', () => {
    writeModel(path, 'F32');
    rmSync(join(folder, 'config.json'));
    expect(readModel(path).config).toMatchObject({ headDim: 8, heads: 2, kvHeads: 1 });
  });

  it('says what is wrong with a file', () => {
    const wrong = (change: () => void, message: string | RegExp): void => {
      change();
      expect(() => readModel(path)).toThrow(message);
    };
    wrong(() => undefined, 'cannot read');
    wrong(() => {
      writeFileSync(path, 'abc');
    }, 'too short');
    wrong(() => {
      writeFileSync(path, 'abcdefghijkl');
    }, 'its header claims');
    wrong(() => {
      writeFileSync(
        path,
        Buffer.concat([Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('nope')]),
      );
    }, 'not JSON');
    wrong(() => {
      writeModel(path, 'F32', {
        ...tensorShapes(),
        'model.layers.0.mlp.down_proj.weight': [16, 9],
      });
    }, 'model.layers.0.mlp.down_proj.weight is [16, 9], expected [16, 8]');
    wrong(() => {
      writeModel(path, 'F32', { ...tensorShapes(), 'model.layers.0.self_attn.q_proj.bias': [16] });
    }, 'biases are not supported');
    wrong(() => {
      writeModel(path, 'F32');
      writeFileSync(
        join(folder, 'config.json'),
        JSON.stringify({ ...json, rope_scaling: { factor: 2 } }),
      );
    }, 'rope_scaling');
  });
});
