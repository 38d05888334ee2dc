/** The small part of a paged engine that is the same on every device. */
import type { BlockAccess } from '../../../src/device/cache.js';

/** Overwrites one token's slot in every plane of the first group. O(planes) block transfers. */
export async function overwriteSlot(
  cache: BlockAccess,
  slot: number,
  value: number,
): Promise<void> {
  const { blockSize, groups } = cache.layout;
  const block = Math.floor(slot / blockSize);
  const offset = slot % blockSize;
  for (const [plane, { bytesPerToken }] of groups[0]!.planes.entries()) {
    const bytes = await cache.readBlock(0, plane, block);
    const elements = bytesPerToken / Float32Array.BYTES_PER_ELEMENT;
    const copy = Float32Array.from(new Float32Array(bytes.slice().buffer));
    copy.fill(value, offset * elements, (offset + 1) * elements);
    await cache.writeBlock(0, plane, block, new Uint8Array(copy.buffer));
  }
}
