/** Llama, straight from the paper's formulas in float64 and with no cache: what the engines are held against. */
import { projectionWidth, type ModelConfig } from '../examples/chat/model/config.js';
import type { Weights } from '../examples/chat/model/weights.js';

type Vector = number[];

/** The logits after the last of `ids`. */
export function naiveLogits(config: ModelConfig, weights: Weights, ids: readonly number[]): Vector {
  const { hidden, heads, kvHeads, headDim, inner, vocabulary, epsilon } = config;
  let stream = ids.map((id) => [...weights.embedding.subarray(id * hidden, (id + 1) * hidden)]);
  for (const layer of weights.layers) {
    const projected = stream.map((x, position) => {
      const row = product(
        norm(x, layer.attentionNorm, epsilon),
        layer.projection,
        projectionWidth(config),
      );
      const split = Array.from({ length: heads + 2 * kvHeads }, (_, head) =>
        row.slice(head * headDim, (head + 1) * headDim),
      );
      return split.map((vector, head) =>
        head < heads + kvHeads ? rotate(vector, position, config.ropeTheta) : vector,
      );
    });
    stream = stream.map((x, position) => {
      const attended = Array.from({ length: heads }, (_, head) => {
        const kvHead = heads + Math.floor((head * kvHeads) / heads);
        const seen = projected.slice(0, position + 1);
        const query = projected[position]![head]!;
        const weightsOf = seen.map((row) =>
          Math.exp(dot(query, row[kvHead]!) / Math.sqrt(headDim)),
        );
        const sum = weightsOf.reduce((a, b) => a + b);
        return query.map((_, d) =>
          seen.reduce(
            (mean, row, i) => mean + (weightsOf[i]! / sum) * row[kvHead + kvHeads]![d]!,
            0,
          ),
        );
      });
      return add(x, product(attended.flat(), layer.output, hidden));
    });
    stream = stream.map((x) => {
      const row = product(norm(x, layer.feedForwardNorm, epsilon), layer.gateUp, 2 * inner);
      const gated = row
        .slice(0, inner)
        .map((gate, i) => (gate / (1 + Math.exp(-gate))) * row[inner + i]!);
      return add(x, product(gated, layer.down, hidden));
    });
  }
  return product(norm(stream.at(-1)!, weights.norm, epsilon), weights.head, vocabulary);
}

function norm(x: Vector, gain: Float32Array, epsilon: number): Vector {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + epsilon);
  return x.map((value, i) => value * scale * gain[i]!);
}

function product(x: Vector, matrix: Float32Array, outputs: number): Vector {
  return Array.from({ length: outputs }, (_, o) =>
    x.reduce((sum, value, i) => sum + value * matrix[i * outputs + o]!, 0),
  );
}

function rotate(vector: Vector, position: number, theta: number): Vector {
  const half = vector.length / 2;
  return vector.map((value, i) => {
    const angle = position * theta ** (-(i % half) / half);
    const other = i < half ? -vector[i + half]! : vector[i - half]!;
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
}

function dot(a: Vector, b: Vector): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

function add(a: Vector, b: Vector): Vector {
  return a.map((value, i) => value + b[i]!);
}
