/** What encoding a large plan costs the JavaScript thread where blocks move by kernels. */
import { BufferUsage } from '../../device/flags.js';
import { blockBytes } from '../../device/layout.js';
import { compileMoves, KernelMover } from '../../device/move-kernels.js';
import { piecesOf } from '../../device/pieces.js';
import { Pool } from '../../device/pool.js';
import { Stages } from '../../device/stages.js';
import { layoutOf, movesOf, scattered } from './blocks.js';
import { median, type Line } from './line.js';

const MOVES = 4096;
const LAYERS = 28;
const STAGING_BYTES = 8 * 2 ** 20;
const ALLOWED_MS = 2;
const WARM_UPS = 2;
const TURNS = 7;

/** Blocks are small, 3.5 KiB, so that any device has the memory. Takes about 40 MB of it. */
export async function measureEncoding(device: GPUDevice): Promise<Line> {
  const setup = {
    layers: LAYERS,
    bytesPerToken: 16,
    blockSize: 4,
    deviceBlocks: 2 * MOVES,
    hostBlocks: 2 * MOVES,
  };
  const { layout } = layoutOf(setup);
  const pool = new Pool(device, layout);
  const mover = new KernelMover(pool, STAGING_BYTES, await compileMoves(device, layout));
  const usage = BufferUsage.COPY_DST;
  const target = device.createBuffer({ label: 'encoded', size: STAGING_BYTES, usage });
  const moves = movesOf(scattered(MOVES, 1), scattered(MOVES, 2));
  const { whole } = new Stages(
    layout,
    pool.groups.map((group) => group.record),
  );
  const encode = (): void => {
    const arranged = mover.arrange(moves, 1);
    for (const piece of piecesOf(arranged, whole, STAGING_BYTES, mover.maxRecords)) {
      mover.gather(arranged, piece, target);
    }
  };
  const times: number[] = [];
  for (let turn = -WARM_UPS; turn < TURNS; turn++) {
    const begin = performance.now();
    encode();
    if (turn >= 0) times.push(performance.now() - begin);
    await device.queue.onSubmittedWorkDone();
  }
  for (const each of [mover, pool, target]) each.destroy();
  const value = median(times);
  const name = `encode ${MOVES} moves over ${LAYERS} layers, ${toMiB(MOVES * blockBytes(layout, layout.groups[0]!))} MiB`;
  return { name, value, unit: 'ms', yardstick: `${ALLOWED_MS} ms`, ratio: value / ALLOWED_MS };
}

function toMiB(bytes: number): number {
  return Math.round(bytes / 2 ** 20);
}
