/**
 * Attention as its definition says, over contiguous memory and in float64. It knows nothing of blocks and
 * shares no code with what it is compared to.
 */

export interface Heads {
  queryHeads: number;
  kvHeads: number;
  headDim: number;
}

/**
 * One sequence: `key` and `value` of all its tokens, `[length, kvHeads, headDim]`, and `query` of its last
 * tokens, `[queries, queryHeads, headDim]`. Returns what the query's tokens attend to, shaped as `query`.
 */
export function naiveAttention(
  heads: Heads,
  key: ArrayLike<number>,
  value: ArrayLike<number>,
  query: ArrayLike<number>,
): Float64Array {
  const { queryHeads: H, kvHeads: K, headDim: D } = heads;
  const length = key.length / (K * D);
  const queries = query.length / (H * D);
  const output = new Float64Array(query.length);
  for (let t = 0; t < queries; t++) {
    const visible = length - queries + t + 1;
    for (let h = 0; h < H; h++) {
      const k = Math.floor((h * K) / H);
      const scores: number[] = [];
      for (let j = 0; j < visible; j++) {
        let dot = 0;
        for (let d = 0; d < D; d++) dot += query[(t * H + h) * D + d]! * key[(j * K + k) * D + d]!;
        scores.push(dot / Math.sqrt(D));
      }
      const top = scores.reduce((a, b) => Math.max(a, b));
      const powers = scores.map((score) => Math.exp(score - top));
      const sum = powers.reduce((a, b) => a + b);
      for (let d = 0; d < D; d++) {
        let mean = 0;
        for (let j = 0; j < visible; j++) mean += (powers[j]! / sum) * value[(j * K + k) * D + d]!;
        output[(t * H + h) * D + d] = mean;
      }
    }
  }
  return output;
}

/** |a − b| / |b|, both taken as vectors; NaN where either has one. */
export function relativeL2(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}
