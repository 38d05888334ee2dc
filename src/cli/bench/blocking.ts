/** How long transfers keep the JavaScript thread from what else it has to do, while a pass runs. */
import { WebGpuCache, type WebGpuCacheOptions } from '../../device/webgpu.js';
import { layoutOf, movesOf, scattered, workOf } from './blocks.js';
import { alternate, lineBelow, type Line } from './line.js';
import { threadTime } from './thread-clock.js';

const PASS_MS = 50;
/** What blocks no more than this share of a pass is allowed. */
const ALLOWED = 0.05;
const BLOCK_SIZE = 16;
/** Each way, in a pass: a conversation of 2,000 tokens leaves, and another comes back. */
const BLOCKS = 125;
/** A turn of the event loop that takes no longer keeps nobody waiting. */
const QUIET_MS = 0.02;

/**
 * In each pass so many blocks of 64 KiB, keys and values of a layer, are swapped out and as many in. Blocked is
 * what the turns of the event loop take of the thread, beyond quiet ones, more than in passes without.
 */
export async function measureBlocking(
  device: GPUDevice,
  turns?: number,
  options: WebGpuCacheOptions = {},
): Promise<Line> {
  const shape = {
    layers: 1,
    planesPerLayer: 2,
    bytesPerToken: 2048,
    blockSize: BLOCK_SIZE,
  } as const;
  const kv = layoutOf({ ...shape, blocks: 4 * BLOCKS });
  using cache = await WebGpuCache.create(device, kv, options);
  const [inPool, onHost] = [scattered(2 * BLOCKS, 1), scattered(2 * BLOCKS, 2)];
  const out = workOf({
    offloads: movesOf(inPool.slice(0, BLOCKS), onHost.slice(0, BLOCKS)),
  });
  const back = workOf({ onboards: movesOf(onHost.slice(BLOCKS), inPool.slice(BLOCKS)) });
  const taken = await alternate(
    () => blockedIn(() => Promise.all([cache.execute(out), cache.execute(back)])),
    () => blockedIn(() => Promise.resolve()),
    turns,
  );
  const blocked = taken.map(({ own, other }) => (own - other) * 1000);
  const name = `JavaScript blocked by ${BLOCKS} blocks of 64 KiB out and in beside a pass of ${PASS_MS} ms`;
  const limit = PASS_MS * ALLOWED;
  return lineBelow(name, blocked, 'ms', [`${ALLOWED * 100} % of the pass, ${limit} ms`, limit]);
}

/** Seconds of the thread, up to the end of the pass and of the transfer, in turns that are not quiet. */
async function blockedIn(transfer: () => Promise<unknown>): Promise<number> {
  const passed = performance.now() + PASS_MS;
  const turns = { blocked_ms: 0, last: threadTime(), areLast: false };
  const moved = transfer().finally(() => {
    turns.areLast = true;
  });
  await new Promise<void>((resolve) => {
    // No promise a turn: the garbage would be counted.
    const turn = (): void => {
      const now = threadTime();
      turns.blocked_ms += Math.max(0, now - turns.last - QUIET_MS);
      turns.last = now;
      if (turns.areLast && performance.now() >= passed) resolve();
      else setImmediate(turn);
    };
    setImmediate(turn);
  });
  await moved;
  return turns.blocked_ms / 1000;
}
