/**
 * Coalescing of moves: neighbouring records whose blocks are neighbours on both sides become one run,
 * so that a long transfer is few copies. Free lists hand blocks out in falling order as often as in
 * rising order, so both are recognised.
 */
import { MOVE_WORDS } from '../words.js';

/** Adjacent blocks that move together. Filled in place by the functions below. */
export interface Run {
  group: number;
  /** The lowest source block. */
  source: number;
  /** The lowest target block. */
  target: number;
  blocks: number;
}

/**
 * Reads the run that begins at record `index` of `moves` (records of group, source, target) into `run`,
 * looking no further than record `end`. Returns the index of the first record after it. Allocates nothing.
 */
export function readRun(moves: Uint32Array, index: number, end: number, run: Run): number {
  const direction = index + 1 < end ? directionAt(moves, index) : 0;
  let blocks = 1;
  while (
    direction !== 0 &&
    index + blocks < end &&
    directionAt(moves, index + blocks - 1) === direction
  ) {
    blocks += 1;
  }
  const at = index * MOVE_WORDS;
  const lowest = direction < 0 ? blocks - 1 : 0;
  run.group = moves[at]!;
  run.source = moves[at + 1]! - lowest;
  run.target = moves[at + 2]! - lowest;
  run.blocks = blocks;
  return index + blocks;
}

/** Records from `index` on, and before `end`, whose blocks in one column each follow on the one before. */
export function risingBlocks(
  moves: Uint32Array,
  column: number,
  index: number,
  end: number,
): number {
  const at = index * MOVE_WORDS + column;
  const block = moves[at]!;
  let blocks = 1;
  while (index + blocks < end && moves[at + blocks * MOVE_WORDS] === block + blocks) blocks += 1;
  return blocks;
}

/** What a key has room for: 5 bits of group, 28 of block, 20 of index. */
const MAX_GROUPS = 2 ** 5;
const MAX_BLOCKS = 2 ** 28;
const MAX_SORTED = 2 ** 20;

/**
 * A copy of the records ordered by group, then by the block in a column, so that neighbours are found. Where
 * there are more than anybody has, they stay in their order. O(n log n).
 */
export function sortedBy(moves: Uint32Array, column: number): Uint32Array {
  const count = moves.length / MOVE_WORDS;
  if (count < 2 || count > MAX_SORTED) return moves.slice();
  const keys = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const group = moves[i * MOVE_WORDS]!;
    const block = moves[i * MOVE_WORDS + column]!;
    if (group >= MAX_GROUPS || block >= MAX_BLOCKS) return moves.slice();
    keys[i] = (group * MAX_BLOCKS + block) * MAX_SORTED + i;
  }
  keys.sort();
  const sorted = new Uint32Array(moves.length);
  for (let i = 0; i < count; i++) {
    const at = (keys[i]! % MAX_SORTED) * MOVE_WORDS;
    for (let word = 0; word < MOVE_WORDS; word++) sorted[i * MOVE_WORDS + word] = moves[at + word]!;
  }
  return sorted;
}

/** 1 or −1 where record `index + 1` is the next or previous neighbour of `index` on both sides, else 0. */
function directionAt(moves: Uint32Array, index: number): number {
  const a = index * MOVE_WORDS;
  const b = a + MOVE_WORDS;
  if (moves[a] !== moves[b]) return 0;
  const step = moves[b + 1]! - moves[a + 1]!;
  if (step !== 1 && step !== -1) return 0;
  const targetStep = moves[b + 2]! - moves[a + 2]!;
  return targetStep === step ? step : 0;
}
