/** What the bookkeeping of a block takes: as the process grows when a large pool is used to its last block. */
import { setTimeout as sleep } from 'node:timers/promises';
import { computePrompts, newManager, newPrompt } from './engine.js';

export interface Memory {
  readonly what: string;
  readonly blocks: number;
  readonly bytesPerBlock: number;
}

const BATCH_TOKENS = 8192;

/** Long prompts lie in full runs; of short ones, each has its own run for a block or two: that is the worst. */
export async function measureMemory(blocks: number): Promise<readonly Memory[]> {
  return [
    await fillWith(blocks, 32768, 'prompts of 32,768 tokens'),
    await fillWith(blocks, 32, 'prompts of 32 tokens'),
  ];
}

async function fillWith(blocks: number, promptTokens: number, what: string): Promise<Memory> {
  // Sequences as few and short as may be: what is asked for are the blocks.
  const sequences = Math.max(1, BATCH_TOKENS / promptTokens);
  const prompts = Array.from({ length: sequences }, (_, i) => newPrompt(promptTokens, i));
  const before = await bytesOutsideHeap();
  const kv = newManager({
    blocks,
    sequences,
    sequenceTokens: promptTokens,
    batchTokens: BATCH_TOKENS,
  });
  const batch = kv.batch();
  for (let seed = 0; kv.stats().device.free > 0; seed += sequences) {
    for (let i = 0; i < sequences; i++) prompts[i]![0] = seed + i;
    computePrompts(kv, batch, prompts, BATCH_TOKENS).forEach((sequence) => sequence.close());
  }
  const bytes = (await bytesOutsideHeap()) - before;
  kv.validate();
  kv.close();
  return { what, blocks, bytesPerBlock: bytes / blocks };
}

/** What is resident, but for JavaScript's objects. */
async function bytesOutsideHeap(): Promise<number> {
  gc!();
  await sleep(100); // the pages of the heap that it freed are given back by a thread of their own
  const { rss, heapTotal } = process.memoryUsage();
  return rss - heapTotal;
}
