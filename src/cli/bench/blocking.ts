/** How long transfers keep the JavaScript thread from what else it has to do, while a pass runs. */
import { WebGpuCache, type WebGpuCacheOptions } from '../../device/webgpu.js';
import { layoutOf, movesOf, scattered, workOf } from './blocks.js';
import { median, type Line } from './line.js';

const PASS_MS = 50;
/** Each way, in a pass. */
const BLOCKS = 250;
const WARM_UPS = 3;
const TURNS = 21;

/**
 * In each pass so many blocks of 64 KiB, keys and values of a layer, are swapped out and as many in. Blocked is
 * what the turns of the event loop take longer than in passes without.
 */
export async function measureBlocking(
  device: GPUDevice,
  options: WebGpuCacheOptions = {},
): Promise<Line> {
  const setup = { layers: 1, bytesPerToken: 2048, blockSize: 16 };
  const pools = { deviceBlocks: 4 * BLOCKS, hostBlocks: 4 * BLOCKS };
  using cache = await WebGpuCache.create(device, layoutOf({ ...setup, ...pools }), options);
  const [inPool, onHost] = [scattered(2 * BLOCKS, 1), scattered(2 * BLOCKS, 2)];
  const out = workOf({
    offloads: movesOf(inPool.slice(0, BLOCKS), onHost.slice(0, BLOCKS)),
  });
  const back = workOf({ onboards: movesOf(onHost.slice(BLOCKS), inPool.slice(BLOCKS)) });
  const times: number[] = [];
  for (let turn = -WARM_UPS; turn < TURNS; turn++) {
    const without = await blockedIn(() => Promise.resolve());
    const beside = await blockedIn(() => Promise.all([cache.execute(out), cache.execute(back)]));
    if (turn >= 0) times.push(beside - without);
  }
  const value = median(times);
  const name = `JavaScript blocked by ${BLOCKS} blocks out and in beside a pass`;
  return { name, value, unit: 'ms', yardstick: `a pass of ${PASS_MS} ms`, ratio: value / PASS_MS };
}

/** A turn of the event loop in which nothing is done takes no longer. */
const QUIET_MS = 0.02;

/** Milliseconds of the pass in which the event loop did not come round. */
async function blockedIn(transfer: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  let blocked = 0;
  let last = begin;
  const moved = transfer();
  while (last < begin + PASS_MS) {
    await new Promise((resume) => setImmediate(resume));
    const now = performance.now();
    blocked += Math.max(0, now - last - QUIET_MS);
    last = now;
  }
  await moved;
  return blocked;
}
