/** What the caches of this package have in common beyond executing plans: reading and writing single blocks. */
import { PagedKvError } from '../errors.js';
import type { CacheDevice, CacheLayout } from '../plan.js';
import { blocksIn, groupAt, type Tier } from './layout.js';

/** Access to single blocks: for tests, for tools that compare or save memory. Not meant for the hot path. */
export interface BlockAccess {
  readonly layout: CacheLayout;

  /**
   * A copy of one block of one plane: `blockSize * bytesPerToken` bytes.
   * Throws `OUT_OF_RANGE` for a group, plane or block that is not there, and `INVALID_ARGUMENT` for a tier.
   */
  readBlock(group: number, plane: number, block: number, tier?: Tier): Promise<Uint8Array>;

  /**
   * Overwrites one block of one plane. Throws `OUT_OF_RANGE` as `readBlock` does, and
   * `INVALID_ARGUMENT` unless `bytes` is exactly a block long.
   */
  writeBlock(
    group: number,
    plane: number,
    block: number,
    bytes: Uint8Array,
    tier?: Tier,
  ): Promise<void>;
}

/** Memory for a manager's blocks that executes its plans. */
export interface BlockCache extends CacheDevice, BlockAccess, Disposable {
  /** Lets go of the memory. Using the cache afterwards is an error. */
  destroy(): void;
}

/** Throws `INVALID_ARGUMENT` unless `bytes` is exactly a block long. */
export function checkByteLength(bytes: Uint8Array, expected: number): void {
  if (bytes.byteLength === expected) return;
  throw new PagedKvError(
    'INVALID_ARGUMENT',
    `a block of ${expected} bytes, got ${bytes.byteLength}`,
  );
}

/** Every byte set: NaN as f32, as f16 and as bf16, and an absurd value as an integer. */
const POISON = 0xff;

/**
 * Fills the given blocks of a group, in all planes, with NaN; all blocks of the tier when none are named.
 * A kernel that reads memory which it should not see then shows it. O(blocks × planes).
 */
export async function poisonBlocks(
  cache: BlockAccess,
  group: number,
  blocks?: Iterable<number>,
  tier: Tier = 'device',
): Promise<void> {
  const layout = groupAt(cache.layout, group);
  const fills = layout.planes.map((plane) =>
    new Uint8Array(cache.layout.blockSize * plane.bytesPerToken).fill(POISON),
  );
  for (const block of blocks ?? Array(blocksIn(layout, tier)).keys()) {
    for (const [plane, fill] of fills.entries()) {
      await cache.writeBlock(group, plane, block, fill, tier);
    }
  }
}
