/**
 * Rotary position embedding (Su et al., 2021): the cosines and sines, computed once on the CPU, so that
 * every kernel rotates by the same numbers.
 */
import type { ModelConfig } from './config.js';

export interface RopeTables {
  /** `[positions, headDim / 2]`. */
  readonly cosines: Float32Array;
  readonly sines: Float32Array;
}

export function ropeTables(config: ModelConfig, positions: number): RopeTables {
  const half = config.headDim / 2;
  const cosines = new Float32Array(positions * half);
  const sines = new Float32Array(positions * half);
  for (let pair = 0; pair < half; pair++) {
    const frequency = config.ropeTheta ** (-pair / half);
    for (let position = 0; position < positions; position++) {
      cosines[position * half + pair] = Math.cos(position * frequency);
      sines[position * half + pair] = Math.sin(position * frequency);
    }
  }
  return { cosines, sines };
}
