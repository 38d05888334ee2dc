/** What encoding a large plan costs the JavaScript thread where blocks move by kernels. */
import { BufferUsage } from '../../device/flags.js';
import { compileMoves, KernelMover } from '../../device/move-kernels.js';
import { piecesOf } from '../../device/pieces.js';
import { Pool } from '../../device/pool.js';
import { Stages } from '../../device/stages.js';
import { DEFAULT_STAGING_BYTES } from '../../device/webgpu-options.js';
import { layoutOf, movesOf, scattered } from './blocks.js';
import { lineBelow, type Line } from './line.js';
import { threadTime } from './thread-clock.js';

const MOVES = 4096;
const LAYERS = 28;
const ALLOWED_MS = 2;
const WARM_UPS = 1;
const TURNS = 5;
/** Of a token in a plane: a block has 63 KiB then. */
const BYTES_PER_TOKEN = 72;
const BLOCK_SIZE = 16;

/**
 * Packing as many blocks of 64 KiB as there are moves, in pieces. Counted is the time of this thread, as what a
 * software adapter does on others is the GPU's part. Takes about 300 MB of the device, and on a software adapter a
 * second a turn.
 */
export async function measureEncoding(
  device: GPUDevice,
  turns = TURNS,
  blocks = MOVES,
): Promise<Line> {
  const { layout } = layoutOf({
    layers: LAYERS,
    planesPerLayer: 2,
    bytesPerToken: BYTES_PER_TOKEN,
    blockSize: BLOCK_SIZE,
    blocks,
  });
  const pool = new Pool(device, layout);
  const mover = new KernelMover(pool, DEFAULT_STAGING_BYTES, await compileMoves(device, layout));
  const usage = BufferUsage.COPY_DST;
  const target = device.createBuffer({ label: 'encoded', size: DEFAULT_STAGING_BYTES, usage });
  const halved = (seed: number): number[] => scattered(blocks, seed).map((block) => block / 2);
  const moves = movesOf(halved(1), halved(2));
  const { whole } = new Stages(
    layout,
    pool.groups.map((group) => group.record),
  );
  const encode = (): void => {
    const arranged = mover.arrange(moves, 1);
    for (const piece of piecesOf(arranged, whole, DEFAULT_STAGING_BYTES, mover.maxRecords)) {
      mover.gather(arranged, piece, target);
    }
  };
  const times: number[] = [];
  for (let turn = -WARM_UPS; turn < turns; turn++) {
    const begin = threadTime();
    encode();
    if (turn >= 0) times.push(threadTime() - begin);
    await device.queue.onSubmittedWorkDone();
  }
  for (const each of [mover, pool, target]) each.destroy();
  const name = `encode ${blocks} moves of 64 KiB blocks over ${LAYERS} layers, by kernel`;
  return lineBelow(name, times, 'ms', [`${ALLOWED_MS} ms of CPU`, ALLOWED_MS]);
}
