/** NaN for what nobody may read: blocks that are free, and those that are about to be filled. */
import assert from 'node:assert/strict';
import type { Tier } from '../src/device/host.js';
import type { CacheLayout, Moves } from '../src/plan.js';
import type { OracleMemory } from './oracle.memory.js';
import { PLANES, WIDTH } from './oracle.payload.js';
import { freshBlocks, type Planned, type Tracked } from './oracle.state.js';

export async function poisonBlock(memory: OracleMemory, block: number, tier: Tier): Promise<void> {
  const { blockSize } = memory.cache.layout;
  if (tier === 'device') {
    memory.poisonSlots(block * blockSize, blockSize);
    return;
  }
  const nan = new Uint8Array(blockSize * WIDTH * 4).fill(0xff);
  for (let plane = 0; plane < PLANES; plane++) {
    await memory.cache.writeBlock(0, plane, block, nan, tier);
  }
}

export async function poisonAll(memory: OracleMemory): Promise<void> {
  const { deviceBlocks, hostBlocks } = memory.cache.layout.groups[0]!;
  for (let block = 0; block < deviceBlocks; block++) await poisonBlock(memory, block, 'device');
  for (let block = 0; block < hostBlocks; block++) await poisonBlock(memory, block, 'host');
}

/** Before moves are made: a target that is no source of the same step holds nothing that matters. */
export async function poisonTargets(memory: OracleMemory, moves: Moves): Promise<void> {
  const { offloads, onboards, copies } = moves;
  const sources = new Set([...column(offloads, 3, 1), ...column(copies, 4, 1)]);
  for (const block of [...column(onboards, 3, 2), ...column(copies, 4, 2)]) {
    if (!sources.has(block)) await poisonBlock(memory, block, 'device');
  }
  const read = new Set(column(onboards, 3, 1));
  for (const block of column(offloads, 3, 2)) {
    // Else a device that stages both directions at once could not execute the plan.
    assert(!read.has(block), 'a host block is written and read by the same step');
    await poisonBlock(memory, block, 'host');
  }
}

/** Blocks that the pass begins to write. */
export async function poisonFresh(memory: OracleMemory, step: Planned): Promise<void> {
  for (const block of freshBlocks(step, memory.cache.layout.blockSize)) {
    await poisonBlock(memory, block, 'device');
  }
}

/** What a device that fails may have overwritten: all that it was to write. */
export async function spoil(memory: OracleMemory, step: Planned): Promise<void> {
  const { offloads, onboards, copies } = step.moves;
  for (const block of column(offloads, 3, 2)) await poisonBlock(memory, block, 'host');
  for (const block of [...column(onboards, 3, 2), ...column(copies, 4, 2)]) {
    await poisonBlock(memory, block, 'device');
  }
  await poisonFresh(memory, step);
}

/**
 * Blocks that no row names, where no block is cached and nothing is under way. Undefined when a row is not
 * known. `table`: the manager's.
 */
export function freeBlocks(
  { blockSize, maxBlocksPerSequence, groups }: CacheLayout,
  sequences: readonly Tracked[],
  table: Int32Array,
): ReadonlySet<number> | undefined {
  const free = new Set(Array(groups[0]!.deviceBlocks).keys());
  for (const { handle, row, hasRow, tokens } of sequences) {
    if (handle.state === 'dropped') continue;
    if (row === undefined || !hasRow) return undefined;
    // One cell more: a sequence may hold a cached block of which it has yet to be given a token.
    const begin = row * maxBlocksPerSequence;
    const end = begin + Math.min(maxBlocksPerSequence, Math.floor(tokens.length / blockSize) + 1);
    for (const block of table.subarray(begin, end)) free.delete(block);
  }
  return free;
}

/** One column of a list of records. */
function column(records: Uint32Array, stride: number, index: number): number[] {
  return [...records].filter((_, at) => at % stride === index);
}
