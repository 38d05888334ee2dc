/**
 * What a block costs where every block must be taken from the cache: a chunk of 256 blocks is scheduled and
 * committed, and the figures are those of one. What was cached was last used in random order. Where namespaces
 * have quotas, all that is cached is theirs, as much of each, and they take turns.
 */
import type { KvCacheManager, Sequence } from 'pagedkv';
import { expect, type Case, type Prepared } from '../case.js';
import {
  BLOCK_SIZE,
  computePrompts,
  fillPrompt,
  newManager,
  newPrompt,
  schedule,
} from '../engine.js';
import { copyOnce } from '../yardsticks.js';

const CHUNK_BLOCKS = 256;
const CHUNK_TOKENS = CHUNK_BLOCKS * BLOCK_SIZE;
/** Of the prompts that fill the pool. */
const PROMPT_BLOCKS = 16;
const TOGETHER = CHUNK_BLOCKS / PROMPT_BLOCKS;
const QUOTAS_POOL_BLOCKS = 1e5;
/** Never reached: a quota that keeps nothing from being evicted. */
const MIN_BLOCKS = 1;

const NONE_EVICTED = 'compute a block, none evicted';
/** Of the core, with its tables, and some room beside it. */
const BYTES_PER_BLOCK = 256;

export const evictionCases: readonly Case[] = [
  chunkCase(NONE_EVICTED, 4 * CHUNK_BLOCKS, () => 0),
  ...[1e3, 1e4, 1e5, 1e6, 1e7].map((blocks) => ({
    ...chunkCase(`compute a block, one evicted of ${blocks.toLocaleString('en')}`, blocks, fill),
    without: NONE_EVICTED,
    bytes: blocks * BYTES_PER_BLOCK,
  })),
  ...[1, 16, 255].map((quotas) => quotasCase(quotas)),
];

/** Fills a pool, if it does, and returns the number of its prompts. */
type FillPool = (kv: KvCacheManager, namespaces: readonly string[]) => number;

function chunkCase(
  name: string,
  blocks: number,
  fillPool: FillPool,
  namespaces: readonly string[] = [''],
): Case {
  return {
    name,
    perRound: CHUNK_BLOCKS,
    yardstick: 'copy its tokens once',
    prepare: () => chunks(blocks, fillPool, namespaces),
  };
}

function quotasCase(quotas: number): Case {
  const name = `compute a block, one evicted, ${quotas} ${quotas === 1 ? 'quota' : 'quotas'} set`;
  const namespaces = Array.from({ length: quotas }, (_, i) => `tenant ${i}`);
  return chunkCase(name, QUOTAS_POOL_BLOCKS, fillWithQuotas, namespaces);
}

function fillWithQuotas(kv: KvCacheManager, namespaces: readonly string[]): number {
  for (const namespace of namespaces) kv.setQuota({ namespace, device: { min: MIN_BLOCKS } });
  return fill(kv, namespaces);
}

function chunks(blocks: number, fillPool: FillPool, namespaces: readonly string[]): Prepared {
  const shape = { sequences: 32, sequenceTokens: CHUNK_TOKENS, batchTokens: CHUNK_TOKENS };
  const kv = newManager({ blocks, ...shape });
  const seeds = fillPool(kv, namespaces);
  const evicts = seeds > 0;
  const batch = kv.batch();
  const chunk = newPrompt(CHUNK_TOKENS, seeds);
  let rounds = 0;
  let sequence: Sequence;
  return {
    operation: {
      before: () => {
        rounds += 1;
        chunk[0] = seeds + rounds;
        sequence = kv.open(chunk, { namespace: namespaces[rounds % namespaces.length]! });
        batch.clear();
        batch.add(sequence, chunk);
      },
      run: () => {
        const step = schedule(kv, batch);
        const { length } = step.attention.groups[0]!.slotMapping;
        step.commit();
        return length;
      },
      after: (slots) => {
        expect(slots, CHUNK_TOKENS, 'slots');
        sequence.close();
        if (!evicts) kv.clear();
      },
    },
    yardstick: copyOnce(chunk),
    finish: () => {
      const { device } = kv.stats();
      expect(Number(device.free < CHUNK_BLOCKS), Number(evicts), 'the pool too full for a chunk');
      kv.validate();
      kv.close();
    },
  };
}

/** Fills the pool with prompts, and uses them once more in random order. */
function fill(kv: KvCacheManager, namespaces: readonly string[]): number {
  const prompts = Math.floor(kv.layout.groups[0]!.deviceBlocks / PROMPT_BLOCKS);
  const namespaceOf = (seed: number) =>
    namespaces[Math.floor(seed / TOGETHER) % namespaces.length]!;
  const batch = kv.batch();
  const prompt = new Uint32Array(PROMPT_BLOCKS * BLOCK_SIZE);
  for (let seed = 0; seed < prompts;) {
    const some = Array.from({ length: Math.min(TOGETHER, prompts - seed) }, (_, i) =>
      newPrompt(prompt.length, seed + i),
    );
    const namespace = namespaceOf(seed);
    const opened = computePrompts(kv, batch, some, prompt.length * some.length, namespace);
    for (const each of opened) each.close();
    seed += some.length;
  }
  for (const seed of shuffled(prompts)) {
    kv.open(fillPrompt(prompt, seed), { namespace: namespaceOf(seed) }).close();
  }
  return prompts;
}

/** The numbers below `count`, in an order that is the same each time. */
function shuffled(count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  const random = newPrompt(count, count);
  for (let i = count - 1; i > 0; i--) {
    const j = random[i]! % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
