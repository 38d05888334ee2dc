/** Cutting lists of moves into pieces that a staging buffer holds. */
import { MOVE_WORDS } from '../words.js';
import { endOfGroup } from './runs.js';
import type { PlaneSpan, Stage } from './stages.js';

/** The planes of `span` of the blocks in records `first` to `end` of a list, all of one group. */
export interface Piece {
  readonly group: number;
  readonly first: number;
  readonly end: number;
  readonly span: PlaneSpan;
  /** Of all its blocks, end to end. */
  readonly bytes: number;
}

/**
 * Pieces of at most `maxBytes`, which one block must not exceed, and `maxRecords`, in the order of the list.
 * `firstBytes`: the first one is no larger, where a block is not; each may be twice as large as the one before.
 */
export function* piecesOf(
  moves: Uint32Array,
  stage: Stage,
  maxBytes: number,
  maxRecords: number,
  firstBytes = maxBytes,
): Generator<Piece> {
  const records = moves.length / MOVE_WORDS;
  let bytes = firstBytes;
  for (let first = 0; first < records; bytes *= 2) {
    const group = moves[first * MOVE_WORDS]!;
    const span = stage[group]!;
    const fit = Math.max(1, Math.floor(Math.min(bytes, maxBytes) / span.bytes));
    const limit = Math.min(records, first + Math.min(fit, maxRecords));
    const end = endOfGroup(moves, first, limit);
    if (span.bytes > 0) yield { group, first, end, span, bytes: (end - first) * span.bytes };
    first = end;
  }
}
