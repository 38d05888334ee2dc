/**
 * Coalescing of moves: neighbouring records whose blocks are neighbours on both sides become one run, so that a
 * long transfer is few copies.
 */
import { MOVE_WORDS } from '../words.js';

/** Adjacent blocks that move together. Filled in place by `readRisingRun`. */
export interface Run {
  group: number;
  /** The lowest source block. */
  source: number;
  /** The lowest target block. */
  target: number;
  blocks: number;
}

/**
 * Reads the run that begins at record `index` of `moves` (records of group, source, target) into `run`, looking no
 * further than record `end`: for memory that holds the records in their order, so that blocks which fall are runs
 * of one. Returns the index of the first record after it. Allocates nothing.
 */
export function readRisingRun(moves: Uint32Array, index: number, end: number, run: Run): number {
  let next = index + 1;
  while (next < end && rises(moves, next - 1)) next += 1;
  const at = index * MOVE_WORDS;
  run.group = moves[at]!;
  run.source = moves[at + 1]!;
  run.target = moves[at + 2]!;
  run.blocks = next - index;
  return next;
}

/** The first record from `index` on that is of another group than it; `end` where there is none. */
export function endOfGroup(moves: Uint32Array, index: number, end: number): number {
  const group = moves[index * MOVE_WORDS];
  let next = index + 1;
  while (next < end && moves[next * MOVE_WORDS] === group) next += 1;
  return next;
}

/** Whether record `index + 1` is the next neighbour of `index` on both sides. */
function rises(moves: Uint32Array, index: number): boolean {
  const a = index * MOVE_WORDS;
  const b = a + MOVE_WORDS;
  if (moves[a] !== moves[b] || moves[b + 1] !== moves[a + 1]! + 1) return false;
  return moves[b + 2] === moves[a + 2]! + 1;
}
