/** Small managers, and the short ways that the tests of the API take. */
import { expect } from 'vitest';
import {
  KvCacheManager,
  type BatchEntry,
  type ErrorCode,
  type KvCacheManagerOptions,
  type Sequence,
  type Step,
  type TokenIds,
} from '../src/index.js';

export const MODEL = { layers: 2, kvHeads: 2, headDim: 4, dtype: 'f32' } as const;
export const BLOCK = 4;

/** 16 blocks of 4 tokens, 8 sequences of up to 64 tokens, two open steps, no host tier. */
export function smallManager(options: Partial<KvCacheManagerOptions> = {}): KvCacheManager {
  return new KvCacheManager({
    model: MODEL,
    blockSize: BLOCK,
    device: { blocks: 16 },
    maxSequences: 8,
    maxSequenceTokens: 64,
    maxBatchTokens: 64,
    ...options,
  });
}

/** Ids `first`, `first + 1`, … */
export function ids(length: number, first = 0): Uint32Array {
  return Uint32Array.from({ length }, (_, i) => first + i);
}

/** The step of a schedule that must fit. */
export function mustSchedule(kv: KvCacheManager, entries: readonly BatchEntry[]): Step {
  const step = kv.schedule(entries);
  if (!step.ok) throw new Error(`out of blocks: ${JSON.stringify(step)}`);
  return step;
}

/** Computes and commits tokens of one sequence. */
export function compute(kv: KvCacheManager, sequence: Sequence, tokens: TokenIds): void {
  mustSchedule(kv, [{ sequence, tokens }]).commit();
}

/** A sequence whose prompt was computed. */
export function openComputed(kv: KvCacheManager, tokens: Uint32Array, namespace = ''): Sequence {
  const sequence = kv.open(tokens, { namespace });
  compute(kv, sequence, tokens.subarray(sequence.cachedTokens));
  return sequence;
}

/** Matches an error of ours with this code. */
export function coded(code: ErrorCode): unknown {
  return expect.objectContaining({ name: 'PagedKvError', code });
}
