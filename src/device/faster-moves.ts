/**
 * Which way of moving blocks is the faster on an adapter, by trying both on a few blocks. It is tried once in a
 * process for each adapter and shape of blocks.
 */
import type { CacheLayout } from '../plan.js';
import { MOVE_WORDS } from '../words.js';
import { isSoftware } from './adapter.js';
import { allocating } from './allocating.js';
import { BufferUsage } from './flags.js';
import { blockBytes } from './layout.js';
import { compileMoves, KernelMover } from './move-kernels.js';
import { CopyMover, type BlockMover } from './moves.js';
import { piecesOf, type Piece } from './pieces.js';
import { Pool } from './pool.js';
import { Stages } from './stages.js';

/** Compute kernels over a list of blocks, or a copy command for each plane of each block. */
export type MoveKind = 'kernel' | 'copies';

const MOST_BYTES = 4 * 2 ** 20;
const MOST_BLOCKS = 128;
/** Those before are for what only the first ones pay. */
const WARM_UPS = 1;
const TURNS = 3;

const known = new Map<string, Promise<MoveKind>>();

/** Takes some megabytes of the device for a moment, and milliseconds; the first time on an adapter. */
export function fasterMoves(device: GPUDevice, layout: CacheLayout): Promise<MoveKind> {
  const key = JSON.stringify([adapterOf(device), shapeOf(layout)]);
  const found = known.get(key);
  if (found !== undefined) return found;
  const measured = measure(device, layout).catch((): MoveKind => {
    // A device without the room, or one that is lost, which the next call on it tells.
    known.delete(key);
    return isSoftware(device.adapterInfo) ? 'copies' : 'kernel';
  });
  known.set(key, measured);
  return measured;
}

function adapterOf(device: GPUDevice): readonly string[] {
  const { vendor, architecture, device: model, description } = device.adapterInfo;
  return [vendor, architecture, model, description];
}

function shapeOf({ blockSize, groups }: CacheLayout): unknown {
  return [blockSize, groups.map(({ planes }) => planes.map((plane) => plane.bytesPerToken))];
}

async function measure(device: GPUDevice, layout: CacheLayout): Promise<MoveKind> {
  const kernels = await compileMoves(device, layout);
  const trial = await allocating(device, (keep) => {
    const sample = sampleOf(layout);
    const pool = keep(new Pool(device, sample));
    const moves = everyOther(sample);
    const stages = new Stages(
      sample,
      pool.groups.map((group) => group.record),
    );
    const pieces = [...piecesOf(moves, stages.whole, Infinity, Infinity)];
    const bytes = Math.max(...pieces.map((piece) => piece.bytes));
    const buffer = (usage: number): GPUBuffer =>
      keep(device.createBuffer({ label: 'pagedkv trial', size: bytes, usage }));
    return {
      device,
      moves,
      pieces,
      target: buffer(BufferUsage.MAP_READ | BufferUsage.COPY_DST),
      source: buffer(BufferUsage.MAP_WRITE | BufferUsage.COPY_SRC),
      kernel: keep(new KernelMover(pool, bytes, kernels)),
      copies: keep(new CopyMover(pool, bytes)),
      pool,
    };
  });
  try {
    const copies = await bestTime(trial, trial.copies);
    return (await bestTime(trial, trial.kernel)) < copies ? 'kernel' : 'copies';
  } finally {
    for (const each of [trial.kernel, trial.copies, trial.target, trial.source, trial.pool]) {
      each.destroy();
    }
  }
}

/** The same planes, over few blocks. */
function sampleOf(layout: CacheLayout): CacheLayout {
  const groups = layout.groups.map((group) => {
    const fit = Math.floor(MOST_BYTES / layout.groups.length / blockBytes(layout, group));
    const blocks = 2 * Math.max(1, Math.min(MOST_BLOCKS, fit));
    return { ...group, deviceBlocks: blocks, hostBlocks: blocks };
  });
  return { ...layout, groups };
}

/** No two are neighbours. */
function everyOther({ groups }: CacheLayout): Uint32Array {
  const records = groups.flatMap(({ deviceBlocks }, group) =>
    Array.from({ length: deviceBlocks / 2 }, (_, i) => [group, 2 * i, 2 * i]),
  );
  const moves = new Uint32Array(records.length * MOVE_WORDS);
  for (const [i, record] of records.entries()) moves.set(record, i * MOVE_WORDS);
  return moves;
}

interface Trial {
  readonly device: GPUDevice;
  readonly moves: Uint32Array;
  readonly pieces: readonly Piece[];
  readonly target: GPUBuffer;
  readonly source: GPUBuffer;
}

/** Milliseconds to move all out and in, encoding them included. */
async function bestTime(trial: Trial, mover: BlockMover): Promise<number> {
  const { device, moves, pieces, target, source } = trial;
  let best = Infinity;
  for (let turn = -WARM_UPS; turn < TURNS; turn++) {
    const begin = performance.now();
    for (const piece of pieces) {
      mover.gather(moves, piece, target);
      mover.scatter(moves, piece, source);
    }
    await device.queue.onSubmittedWorkDone();
    if (turn >= 0) best = Math.min(best, performance.now() - begin);
  }
  return best;
}
