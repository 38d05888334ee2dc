/** Stories that each show one promise, told over real memory. */
import { expect, it } from 'vitest';
import { KvCacheManager } from '../src/index.js';
import type { BlockCache } from '../src/device/host.js';
import { MAX_BATCH_TOKENS } from './oracle.memory.js';
import { Oracle } from './oracle.js';
import { MODEL } from './oracle.payload.js';
import type { MakeMemory } from './oracle.program.js';
import type { Planned, Tracked } from './oracle.state.js';

const BLOCK = 4;

/** 12 blocks of 4 tokens on the device and as many on the host. */
export async function makeOracle(make: MakeMemory): Promise<Oracle> {
  const kv = new KvCacheManager({
    model: MODEL,
    blockSize: BLOCK,
    device: { blocks: 12 },
    host: { blocks: 12 },
    maxSequences: 8,
    maxSequenceTokens: 48,
    maxBatchTokens: MAX_BATCH_TOKENS,
  });
  return Oracle.create(kv, await make(kv));
}

/** Tokens that no other `text` has. */
export function text(number: number, length: number): number[] {
  return Array.from({ length }, (_, i) => number * 1000 + i);
}

export function mustSchedule(
  oracle: Oracle,
  sequence: Tracked,
  tokens: readonly number[],
): Planned {
  const step = oracle.schedule([{ sequence, tokens }]);
  if (step === undefined) throw new Error('out of blocks');
  return step;
}

export async function append(
  oracle: Oracle,
  sequence: Tracked,
  tokens: readonly number[],
): Promise<void> {
  const step = mustSchedule(oracle, sequence, tokens);
  await oracle.execute(step);
  oracle.commit(step);
  await oracle.check();
}

/** A sequence whose prompt was computed. */
export async function chat(oracle: Oracle, prompt: readonly number[]): Promise<Tracked> {
  const sequence = oracle.open(prompt);
  await append(oracle, sequence, prompt.slice(sequence.tokens.length));
  return sequence;
}

export async function swapOut(oracle: Oracle, sequence: Tracked): Promise<number> {
  const transfer = oracle.swapOut(sequence);
  if (transfer === undefined) throw new Error('no room on the host');
  await oracle.finishTransfer(transfer);
  await oracle.check();
  return transfer.handle.blocks;
}

async function invert(cache: BlockCache, block: number): Promise<void> {
  const bytes = await cache.readBlock(0, MODEL.layers, block);
  bytes[0]! ^= 1;
  await cache.writeBlock(0, MODEL.layers, block, bytes);
}

export function itKeepsEveryToken(make: MakeMemory): void {
  it('swaps two forks out once, and brings them back sharing', async () => {
    using oracle = await makeOracle(make);
    const first = await chat(oracle, text(1, 18));
    const second = oracle.fork(first);
    expect(await swapOut(oracle, first)).toBe(0);
    expect(await swapOut(oracle, second)).toBe(5);
    expect(oracle.kv.stats().device.held).toBe(0);
    await append(oracle, first, [7]);
    await append(oracle, second, [8]);
    const { swappedInBlocks, device } = oracle.kv.stats();
    expect(swappedInBlocks).toBe(5);
    expect(device.held).toBe(6);
  });

  it('leaves both forks as they were when a copy on write is aborted after it was executed', async () => {
    using oracle = await makeOracle(make);
    const parent = await chat(oracle, text(1, 6));
    const child = oracle.fork(parent);
    const step = mustSchedule(oracle, child, [7, 8, 9]);
    expect(step.moves.copies).toHaveLength(4);
    await oracle.execute(step);
    oracle.abort(step);
    await oracle.check();
    await append(oracle, parent, [5, 5]);
    await append(oracle, child, [7, 8, 9]);
  });

  it('offloads what is evicted, and finds it on the host', async () => {
    using oracle = await makeOracle(make);
    for (const number of [1, 2, 3]) oracle.close(await chat(oracle, text(number, 24)));
    expect(oracle.kv.stats().offloadedBlocks).toBe(6);
    oracle.close(await chat(oracle, text(1, 24)));
    const { onboardedBlocks, offloadedBlocks, hostHitTokens } = oracle.kv.stats();
    expect([onboardedBlocks, offloadedBlocks, hostHitTokens]).toEqual([6, 12, 23]);
  });

  it('copies the part of a cached block that a prompt shares', async () => {
    using oracle = await makeOracle(make);
    oracle.close(await chat(oracle, text(1, 8)));
    const sequence = oracle.open([...text(1, 6), 5, 5]);
    expect(sequence.tokens).toHaveLength(6);
    const step = mustSchedule(oracle, sequence, [5, 5]);
    expect([...step.moves.copies].slice(3)).toEqual([2]);
    await oracle.execute(step);
    oracle.commit(step);
    await oracle.check();
  });

  it('never finds what a clear forgot, and leaves it to those who hold it', async () => {
    using oracle = await makeOracle(make);
    const before = await chat(oracle, text(1, 9));
    oracle.clear();
    const after = await chat(oracle, text(1, 9));
    await append(oracle, before, [5]);
    await append(oracle, after, [5]);
  });

  it('leaves a cached block only when no open step of the sequence reads it any more', async () => {
    using oracle = await makeOracle(make);
    oracle.close(await chat(oracle, text(1, 8)));
    const sequence = oracle.open(text(1, 6));
    const first = mustSchedule(oracle, sequence, text(1, 6).slice(5));
    // Not the token that the block has there: it would take a copy.
    expect(oracle.schedule([{ sequence, tokens: [5] }])).toBeUndefined();
    await oracle.execute(first);
    oracle.commit(first);
    await append(oracle, sequence, [5]);
  });

  it('notices a single bit that changed behind the back of the manager', async () => {
    using oracle = await makeOracle(make);
    const sequence = await chat(oracle, text(1, 6));
    const block = mustSchedule(oracle, sequence, [5]).entries[0]!.blocks[1]!;
    await invert(oracle.memory.cache, block);
    oracle.forget();
    await expect(oracle.check()).rejects.toThrow(`token 4 in device slot ${block * BLOCK}: key 0`);
    await invert(oracle.memory.cache, block);
    oracle.forget();
    await oracle.check();
  });
}
