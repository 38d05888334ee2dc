/** The model on the CPU: activations in f32, every dot product summed in order. */
import { type ModelConfig, projectionWidth } from './config.js';
import type { EngineLimits, Logits, Pass } from './engine.js';
import { type RopeTables, ropeTables } from './rope.js';
import type { LayerWeights, Weights } from './weights.js';

/** What attention reads and writes in one layer; rows are query tokens. */
export interface HostRows {
  readonly tokens: number;
  /** `[tokens, heads, headDim]`. */
  readonly queries: Float32Array;
  /** `[tokens, kvHeads, headDim]`. */
  readonly keys: Float32Array;
  readonly values: Float32Array;
  /** `[tokens, heads, headDim]`. */
  readonly attended: Float32Array;
}

/** Stores a layer's new keys and values, then attends. */
export type HostAttend = (layer: number, rows: HostRows) => void;

export class HostModel {
  readonly #config: ModelConfig;
  readonly #weights: Weights;
  readonly #rope: RopeTables;
  readonly #stream: Float32Array;
  readonly #normed: Float32Array;
  readonly #projected: Float32Array;
  readonly #queries: Float32Array;
  readonly #keys: Float32Array;
  readonly #values: Float32Array;
  readonly #attended: Float32Array;
  readonly #gateUp: Float32Array;
  readonly #gated: Float32Array;
  readonly #logits: Float32Array;

  constructor(config: ModelConfig, weights: Weights, limits: EngineLimits) {
    const rows = (width: number): Float32Array => new Float32Array(limits.passTokens * width);
    this.#config = config;
    this.#weights = weights;
    this.#rope = ropeTables(config, limits.sequenceTokens);
    this.#stream = rows(config.hidden);
    this.#normed = rows(config.hidden);
    this.#projected = rows(projectionWidth(config));
    this.#queries = rows(config.heads * config.headDim);
    this.#keys = rows(config.kvHeads * config.headDim);
    this.#values = rows(config.kvHeads * config.headDim);
    this.#attended = rows(config.heads * config.headDim);
    this.#gateUp = rows(2 * config.inner);
    this.#gated = rows(config.inner);
    this.#logits = new Float32Array(limits.passSequences * config.vocabulary);
  }

  forward(pass: Pass, attend: HostAttend): Logits {
    const { hidden, vocabulary, epsilon } = this.#config;
    this.#embed(pass.ids);
    this.#weights.layers.forEach((layer, index) => this.#runLayer(index, layer, pass, attend));
    pass.wanted.forEach((row, i) => {
      this.#stream.copyWithin(i * hidden, row * hidden, (row + 1) * hidden);
    });
    const wanted = pass.wanted.length;
    rmsNorm(this.#normed, this.#stream, this.#weights.norm, wanted, epsilon);
    this.#logits.fill(0);
    addProduct(this.#logits, this.#normed, this.#weights.head, wanted, hidden, vocabulary);
    return this.#logits;
  }

  #embed(ids: Uint32Array): void {
    const { hidden } = this.#config;
    ids.forEach((id, row) => {
      this.#stream.set(
        this.#weights.embedding.subarray(id * hidden, (id + 1) * hidden),
        row * hidden,
      );
    });
  }

  #runLayer(index: number, layer: LayerWeights, pass: Pass, attend: HostAttend): void {
    const { hidden, heads, headDim, inner, epsilon } = this.#config;
    const tokens = pass.ids.length;
    const width = projectionWidth(this.#config);

    rmsNorm(this.#normed, this.#stream, layer.attentionNorm, tokens, epsilon);
    this.#projected.fill(0, 0, tokens * width);
    addProduct(this.#projected, this.#normed, layer.projection, tokens, hidden, width);
    this.#rotateAndSplit(pass.positions);
    attend(index, this.#rows(tokens));
    addProduct(this.#stream, this.#attended, layer.output, tokens, heads * headDim, hidden);

    rmsNorm(this.#normed, this.#stream, layer.feedForwardNorm, tokens, epsilon);
    this.#gateUp.fill(0, 0, tokens * 2 * inner);
    addProduct(this.#gateUp, this.#normed, layer.gateUp, tokens, hidden, 2 * inner);
    swiGlu(this.#gated, this.#gateUp, tokens, inner);
    addProduct(this.#stream, this.#gated, layer.down, tokens, inner, hidden);
  }

  #rows(tokens: number): HostRows {
    const queryWidth = this.#config.heads * this.#config.headDim;
    const keyWidth = this.#config.kvHeads * this.#config.headDim;
    return {
      tokens,
      queries: this.#queries.subarray(0, tokens * queryWidth),
      keys: this.#keys.subarray(0, tokens * keyWidth),
      values: this.#values.subarray(0, tokens * keyWidth),
      attended: this.#attended.subarray(0, tokens * queryWidth),
    };
  }

  #rotateAndSplit(positions: Uint32Array): void {
    const { heads, kvHeads, headDim } = this.#config;
    const width = projectionWidth(this.#config);
    const queryWidth = heads * headDim;
    const keyWidth = kvHeads * headDim;
    positions.forEach((position, row) => {
      const projected = this.#projected.subarray(row * width, (row + 1) * width);
      this.#rotate(projected.subarray(0, queryWidth + keyWidth), position);
      this.#queries.set(projected.subarray(0, queryWidth), row * queryWidth);
      this.#keys.set(projected.subarray(queryWidth, queryWidth + keyWidth), row * keyWidth);
      this.#values.set(projected.subarray(queryWidth + keyWidth), row * keyWidth);
    });
  }

  /** Rotates whole heads in place, dimension `i` with `i + headDim / 2`. */
  #rotate(vectors: Float32Array, position: number): void {
    const { headDim } = this.#config;
    const half = headDim / 2;
    for (let start = 0; start < vectors.length; start += headDim) {
      for (let pair = 0; pair < half; pair++) {
        const cosine = this.#rope.cosines[position * half + pair]!;
        const sine = this.#rope.sines[position * half + pair]!;
        const a = vectors[start + pair]!;
        const b = vectors[start + pair + half]!;
        vectors[start + pair] = a * cosine - b * sine;
        vectors[start + pair + half] = b * cosine + a * sine;
      }
    }
  }
}

function rmsNorm(
  out: Float32Array,
  input: Float32Array,
  gain: Float32Array,
  rows: number,
  epsilon: number,
): void {
  const width = gain.length;
  for (let row = 0; row < rows; row++) {
    let squares = 0;
    for (let i = 0; i < width; i++) squares += input[row * width + i]! ** 2;
    const scale = 1 / Math.sqrt(squares / width + epsilon);
    for (let i = 0; i < width; i++)
      out[row * width + i] = input[row * width + i]! * scale * gain[i]!;
  }
}

/** `out[rows, outputs] += input[rows, inputs] × matrix[inputs, outputs]`, inputs in ascending order. */
function addProduct(
  out: Float32Array,
  input: Float32Array,
  matrix: Float32Array,
  rows: number,
  inputs: number,
  outputs: number,
): void {
  for (let row = 0; row < rows; row++) {
    const target = row * outputs;
    for (let i = 0; i < inputs; i++) {
      const factor = input[row * inputs + i]!;
      const source = i * outputs;
      for (let o = 0; o < outputs; o++) {
        out[target + o] = out[target + o]! + factor * matrix[source + o]!;
      }
    }
  }
}

/** `silu(gate) * up`, a row of `input` being the gates followed by the ups. */
function swiGlu(out: Float32Array, input: Float32Array, rows: number, inner: number): void {
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < inner; i++) {
      const gate = input[row * 2 * inner + i]!;
      const up = input[(row * 2 + 1) * inner + i]!;
      out[row * inner + i] = (gate / (1 + Math.exp(-gate))) * up;
    }
  }
}
