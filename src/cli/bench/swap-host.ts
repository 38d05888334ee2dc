/** Swapping scattered blocks of a cache in host memory, against the machine's own parallel copy of their pieces. */
import { availableParallelism } from 'node:os';
import { HostCache } from '../../device/host.js';
import { check } from '../../errors.js';
import { native } from '../../native.js';
import { movesOf, workOf } from './blocks.js';
import { rateAgainst, timed, type Line } from './line.js';
import {
  fill,
  MOVED,
  OVER_28_LAYERS,
  pickBlocks,
  threadCount,
  Tiers,
  tiersLayout,
} from './tiers.js';

/** As native code takes them by default. */
const MOST_THREADS = 4;

/** By as many threads as there are by default, which it leaves set. Takes about a gigabyte. */
export async function measureHostSwap(turns?: number): Promise<Line[]> {
  const threads = Math.min(availableParallelism(), MOST_THREADS);
  check(native.setCopyThreads(threads));
  const layout = tiersLayout(OVER_28_LAYERS);
  using cache = new HostCache({ layout });
  using tiers = await Tiers.make(layout, threads);
  const { planes } = layout.groups[0]!;
  for (const plane of planes.keys()) fill(cache.plane(0, plane), OVER_28_LAYERS.model.dtype);
  const [near, host] = [pickBlocks(), pickBlocks()];
  const swaps = [
    ['out', workOf({ offloads: movesOf(near, host) })],
    ['in', workOf({ onboards: movesOf(host, near) })],
  ] as const;
  const lines: Line[] = [];
  for (const [way, work] of swaps) {
    const name = `host swap ${way} of ${MOVED} blocks of 64 KiB over 28 layers, ${threadCount(threads)}`;
    const yardstick = [
      `memcpy of the same pieces, ${threadCount(threads)}`,
      tiers.copier(way === 'out'),
    ] as const;
    const swap = timed(() => cache.execute(work));
    lines.push(await rateAgainst(name, tiers.bytes, swap, yardstick, turns));
  }
  return lines;
}
