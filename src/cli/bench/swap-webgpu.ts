/** Swapping scattered blocks out of and into GPU memory, against contiguous bytes on the same way. */
import { WebGpuCache, type WebGpuCacheOptions } from '../../device/webgpu.js';
import { blockBytes } from '../../device/layout.js';
import { WORD_BYTES } from '../../words.js';
import { layoutOf, movesOf, scattered, workOf } from './blocks.js';
import { rateAgainst, timed, type Line } from './line.js';
import { PlainPath } from './plain-path.js';

const BLOCK_BYTES = 64 * 1024;
const BLOCK_SIZE = 16;

export interface SwapSetup {
  readonly blocks?: number;
  /** That the 64 KiB of a block are spread over. */
  readonly layers?: number;
  /** Keys and values apart, or one plane. */
  readonly planesPerLayer?: 1 | 2;
  readonly turns?: number | undefined;
  readonly options?: WebGpuCacheOptions;
}

/** No two of the blocks are neighbours. Of 1,000 blocks, takes about 400 MB of memory, half of it the device's. */
export async function measureGpuSwap(device: GPUDevice, setup: SwapSetup = {}): Promise<Line[]> {
  const { blocks = 1000, layers = 1, planesPerLayer = 2, turns, options = {} } = setup;
  const planes = layers * planesPerLayer;
  const bytesPerToken = Math.floor(BLOCK_BYTES / BLOCK_SIZE / planes / WORD_BYTES) * WORD_BYTES;
  const shape = { layers, planesPerLayer, bytesPerToken, blockSize: BLOCK_SIZE };
  const kv = layoutOf({ ...shape, blocks: 2 * blocks });
  using cache = await WebGpuCache.create(device, kv, options);
  const bytes = blocks * blockBytes(cache.layout, cache.layout.groups[0]!);
  const plain = new PlainPath(device, bytes, cache.stagingBytes);
  const [inPool, onHost] = [scattered(blocks, 1), scattered(blocks, 2)];
  const out = workOf({ offloads: movesOf(inPool, onHost) });
  const back = workOf({ onboards: movesOf(onHost, inPool) });
  const swapOut = timed(() => cache.execute(out));
  const swapIn = timed(async () => {
    await cache.execute(back);
    await device.queue.onSubmittedWorkDone();
  });
  const kept = planesPerLayer === 1 ? 'a plane' : 'keys and values';
  const over = layers === 1 ? '1 layer' : `${layers} layers`;
  const what = `${blocks} blocks of 64 KiB, ${kept} of ${over}, by ${cache.moves}`;
  const yardstick = 'one contiguous copy through the same staging and memcpy';
  const plainOut = timed(() => plain.out());
  const plainIn = timed(() => plain.in());
  try {
    return [
      await rateAgainst(`swap out ${what}`, bytes, swapOut, [yardstick, plainOut], turns),
      await rateAgainst(`swap in ${what}`, bytes, swapIn, [yardstick, plainIn], turns),
    ];
  } finally {
    plain.destroy();
  }
}
