/** Records of moves that go together: those of one group, and neighbouring blocks, so that many are few copies. */
import { MOVE_WORDS } from '../words.js';

/** The first record from `index` on that is of another group than it; `end` where there is none. */
export function endOfGroup(moves: Uint32Array, index: number, end: number): number {
  const group = moves[index * MOVE_WORDS];
  let next = index + 1;
  while (next < end && moves[next * MOVE_WORDS] === group) next += 1;
  return next;
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
