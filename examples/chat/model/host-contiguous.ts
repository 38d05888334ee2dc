/** Attention over one contiguous cache a lane, on the CPU. Knows no blocks. */
import type { ModelConfig } from './config.js';
import type { ContiguousEngine, EngineLimits, Logits, Pass } from './engine.js';
import { HostModel, type HostRows } from './host-model.js';
import type { Weights } from './weights.js';

export class HostContiguousEngine implements ContiguousEngine {
  readonly #config: ModelConfig;
  readonly #model: HostModel;
  readonly #laneTokens: number;
  /** By layer, `[lanes, laneTokens, kvHeads, headDim]`. */
  readonly #keys: readonly Float32Array[];
  readonly #values: readonly Float32Array[];
  /** In f64, as all sums are, in the order of positions: as `HostAttention` has them. */
  readonly #scores: Float64Array;

  constructor(config: ModelConfig, weights: Weights, limits: EngineLimits, lanes: number) {
    const plane = (): Float32Array =>
      new Float32Array(lanes * limits.sequenceTokens * config.kvHeads * config.headDim);
    this.#config = config;
    this.#model = new HostModel(config, weights, limits);
    this.#laneTokens = limits.sequenceTokens;
    this.#keys = weights.layers.map(plane);
    this.#values = weights.layers.map(plane);
    this.#scores = new Float64Array(limits.sequenceTokens);
  }

  forward(pass: Pass, lanes: Uint32Array): Promise<Logits> {
    const logits = this.#model.forward(pass, (layer, rows) => {
      this.#store(layer, rows, pass, lanes);
      for (let row = 0; row < rows.tokens; row++) {
        for (let head = 0; head < this.#config.heads; head++) {
          this.#attend(
            layer,
            rows,
            row,
            head,
            lanes[row]! * this.#laneTokens,
            pass.positions[row]!,
          );
        }
      }
    });
    return Promise.resolve(logits);
  }

  destroy(): void {
    // Garbage collected.
  }

  #store(layer: number, rows: HostRows, pass: Pass, lanes: Uint32Array): void {
    const width = this.#config.kvHeads * this.#config.headDim;
    for (let row = 0; row < rows.tokens; row++) {
      const at = (lanes[row]! * this.#laneTokens + pass.positions[row]!) * width;
      this.#keys[layer]!.set(rows.keys.subarray(row * width, (row + 1) * width), at);
      this.#values[layer]!.set(rows.values.subarray(row * width, (row + 1) * width), at);
    }
  }

  /** One query head over its lane, positions 0 to `last`. */
  #attend(
    layer: number,
    rows: HostRows,
    row: number,
    head: number,
    laneStart: number,
    last: number,
  ): void {
    const { heads, kvHeads, headDim } = this.#config;
    const width = kvHeads * headDim;
    const kvHead = Math.floor(head / (heads / kvHeads));
    const query = (row * heads + head) * headDim;
    const first = laneStart * width + kvHead * headDim;
    const keys = this.#keys[layer]!;
    const values = this.#values[layer]!;
    const scale = 1 / Math.sqrt(headDim);

    let largest = -Infinity;
    for (let position = 0; position <= last; position++) {
      let dot = 0;
      for (let d = 0; d < headDim; d++) {
        dot += rows.queries[query + d]! * keys[first + position * width + d]!;
      }
      this.#scores[position] = dot * scale;
      largest = Math.max(largest, this.#scores[position]!);
    }
    let sum = 0;
    for (let position = 0; position <= last; position++) {
      const weight = Math.exp(this.#scores[position]! - largest);
      this.#scores[position] = weight;
      sum += weight;
    }
    for (let d = 0; d < headDim; d++) {
      let mean = 0;
      for (let position = 0; position <= last; position++) {
        mean += this.#scores[position]! * values[first + position * width + d]!;
      }
      rows.attended[query + d] = mean / sum;
    }
  }
}
