/** The words that memory is counted in, and how many of them the records of a plan take. */

/** GPUs and the core both count memory in words of 4 bytes. */
export const WORD_BYTES = 4;

/** Of an offload or onboard: group, source, target. */
export const MOVE_WORDS = 3;
/** Of a copy: group, source, target, tokens. */
export const COPY_WORDS = 4;
/** Of a table update: row, first cell, cells. */
export const UPDATE_WORDS = 3;
/** Of what an entry had on the host: its place in the batch, blocks brought back, tokens computed all the same. */
export const HOST_HIT_WORDS = 3;

/** For messages. */
export function toMiB(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
