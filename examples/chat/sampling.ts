/**
 * Seeded sampling by the Gumbel trick: the largest of `logit / temperature + noise` is a draw from the
 * softmax. The noise depends on the reply and the place alone, so a token computed again, in another
 * batch or after a preemption, is drawn the same.
 */
import { uniform } from './random.js';

export interface Draw {
  readonly id: number;
  readonly logit: number;
  /** How far the second best stood behind, noise included: what an error in the logits must exceed. */
  readonly margin: number;
}

/** Draws from row `row` of `logits`. `key` names the reply, `place` the token in it. */
export function draw(
  logits: Float32Array,
  row: number,
  vocabulary: number,
  temperature: number,
  key: number,
  place: number,
): Draw {
  const start = row * vocabulary;
  let id = -1;
  let best = -Infinity;
  let second = -Infinity;
  for (let i = 0; i < vocabulary; i++) {
    const noise = -Math.log(-Math.log(uniform(key, place * vocabulary + i)));
    const score = logits[start + i]! + temperature * noise;
    if (!(score > best)) {
      if (score > second) second = score;
      continue;
    }
    second = best;
    best = score;
    id = i;
  }
  if (id < 0) throw new Error('no logit is a number: the model computed garbage');
  return { id, logit: logits[start + id]!, margin: best - second };
}
