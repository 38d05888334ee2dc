/** Swapping scattered blocks out of and into GPU memory, against contiguous bytes on the same way. */
import { WebGpuCache, type WebGpuCacheOptions } from '../../device/webgpu.js';
import { blockBytes } from '../../device/layout.js';
import { layoutOf, movesOf, scattered, workOf, type BlocksSetup } from './blocks.js';
import { lineOf, type Line, type Turn } from './line.js';
import { PlainPath, type HostCopy } from './plain-path.js';

const BLOCKS = 1000;
const BLOCK_BYTES = 64 * 1024;
const BLOCK_SIZE = 16;
const WARM_UPS = 3;
const TURNS = 21;

const YARDSTICKS: Readonly<Record<HostCopy, string>> = {
  memcpy: 'a contiguous copy and memcpy',
  native: 'a contiguous copy, on the host by the same threads',
};

/** Moves the same bytes once. */
type Move = () => Promise<void>;

/**
 * No two of the blocks are neighbours. `layers`: that the 64 KiB of a block are spread over, keys and values
 * apart. Takes about 400 MB of memory, half of it the device's, and some seconds.
 */
export async function measureGpuSwap(
  device: GPUDevice,
  layers = 1,
  options: WebGpuCacheOptions = {},
): Promise<Line[]> {
  const setup: BlocksSetup = {
    layers,
    // Whole words.
    bytesPerToken: Math.floor(BLOCK_BYTES / BLOCK_SIZE / layers / 8) * 4,
    blockSize: BLOCK_SIZE,
    deviceBlocks: 2 * BLOCKS,
    hostBlocks: 2 * BLOCKS,
  };
  using cache = await WebGpuCache.create(device, layoutOf(setup), options);
  const recordBytes = blockBytes(cache.layout, cache.layout.groups[0]!);
  const bytes = BLOCKS * recordBytes;
  const [inPool, onHost] = [scattered(BLOCKS, 1), scattered(BLOCKS, 2)];
  const plain = new PlainPath(device, bytes, largestPiece(BLOCKS, recordBytes, cache.stagingBytes));
  const out = workOf({ offloads: movesOf(inPool, onHost) });
  const back = workOf({ onboards: movesOf(onHost, inPool) });
  const what = `${BLOCKS} blocks of 64 KiB over ${layers} ${layers === 1 ? 'layer' : 'layers'}`;
  const swapOut = (): Promise<void> => cache.execute(out);
  const swapIn = async (): Promise<void> => {
    await cache.execute(back);
    await device.queue.onSubmittedWorkDone();
  };
  try {
    return [
      ...(await measure(`swap out ${what}`, bytes, swapOut, (copy) => plain.out(copy))),
      ...(await measure(`swap in ${what}`, bytes, swapIn, (copy) => plain.in(copy))),
    ];
  } finally {
    plain.destroy();
  }
}

/** As many blocks as fit, in pieces of one size. */
function largestPiece(blocks: number, recordBytes: number, most: number): number {
  let fit = Math.min(blocks, Math.floor(most / recordBytes));
  while (blocks % fit !== 0) fit -= 1;
  return fit * recordBytes;
}

async function measure(
  name: string,
  bytes: number,
  swap: Move,
  plain: (copy: HostCopy) => Promise<void>,
): Promise<Line[]> {
  const lines: Line[] = [];
  for (const copy of Object.keys(YARDSTICKS) as HostCopy[]) {
    const turns: Turn[] = [];
    for (let turn = -WARM_UPS; turn < TURNS; turn++) {
      const value = await gigabytesPerSecond(bytes, swap);
      const yardstick = await gigabytesPerSecond(bytes, () => plain(copy));
      if (turn >= 0) turns.push({ value, yardstick });
    }
    lines.push(lineOf(name, 'GB/s', YARDSTICKS[copy], turns));
  }
  return lines;
}

async function gigabytesPerSecond(bytes: number, move: Move): Promise<number> {
  const begin = performance.now();
  await move();
  return bytes / (performance.now() - begin) / 1e6;
}
