/** The part of an engine that a benchmark needs: prompts, managers, and a pass that computes them. */
import { KvCacheManager, type Batch, type Sequence, type Step } from 'pagedkv';

export const BLOCK_SIZE = 16;

export interface Shape {
  readonly blocks: number;
  readonly sequences: number;
  readonly sequenceTokens: number;
  readonly batchTokens: number;
}

export function newManager({
  blocks,
  sequences,
  sequenceTokens,
  batchTokens,
}: Shape): KvCacheManager {
  return new KvCacheManager({
    model: { layers: 28, kvHeads: 8, headDim: 128, dtype: 'f16' },
    blockSize: BLOCK_SIZE,
    device: { blocks },
    maxSequences: sequences,
    maxSequenceTokens: sequenceTokens,
    maxBatchTokens: batchTokens,
  });
}

/** Ids of a vocabulary of 131,072, the same for the same seed. */
export function fillPrompt(ids: Uint32Array, seed: number): Uint32Array {
  let state = Math.imul(seed + 1, 0x9e3779b9) | 1;
  for (let i = 0; i < ids.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    ids[i] = state >>> 15;
  }
  // Different seeds never begin alike.
  ids[0] = seed;
  return ids;
}

export function newPrompt(length: number, seed: number): Uint32Array {
  return fillPrompt(new Uint32Array(length), seed);
}

export function schedule(kv: KvCacheManager, batch: Batch): Step {
  const step = kv.schedule(batch);
  if (!step.ok) throw new Error(`out of blocks: ${step.needed} needed, ${step.free} free`);
  return step;
}

/** Opens prompts of one length in a namespace, and computes them together, as many tokens a pass as the batch may have. */
export function computePrompts(
  kv: KvCacheManager,
  batch: Batch,
  prompts: readonly Uint32Array[],
  batchTokens: number,
  namespace = '',
): readonly Sequence[] {
  const sequences = prompts.map((prompt) => kv.open(prompt, { namespace }));
  const length = prompts[0]!.length;
  const chunk = Math.floor(batchTokens / prompts.length);
  for (let begin = 0; begin < length; begin += chunk) {
    batch.clear();
    sequences.forEach((sequence, i) => {
      batch.add(sequence, prompts[i]!.subarray(begin, begin + chunk));
    });
    schedule(kv, batch).commit();
  }
  return sequences;
}

/** A copy of the part of a block table that an open sequence fills. */
export function readTable(kv: KvCacheManager, sequence: Sequence): Int32Array {
  const batch = kv.batch();
  batch.add(sequence, 1);
  const step = schedule(kv, batch);
  const { rows, groups } = step.attention;
  const begin = rows[0]! * kv.layout.maxBlocksPerSequence;
  const cells = Math.ceil(sequence.length / BLOCK_SIZE);
  const table = groups[0]!.blockTable.slice(begin, begin + cells);
  step.abort();
  return table;
}
