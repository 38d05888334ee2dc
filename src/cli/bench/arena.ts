/** How fast native code gathers scattered blocks into the host arena, brings them back, and quantizes them. */
import type { DType } from '../../plan.js';
import { rateAgainst, type Line } from './line.js';
import { MOVED, OVER_28_LAYERS, threadCount, Tiers, tiersLayout, type Shape } from './tiers.js';

/** One plane of 64 KiB a block. */
const PLANES = [{ layer: 0, name: 'latent', bytesPerToken: 4096 }];
const WHOLE = { groups: [{ name: 'all', kind: 'full', planes: PLANES }] } as const;
/** Two planes of 32 KiB a block. */
const ONE_LAYER = {
  f32: { model: { layers: 1, kvHeads: 4, headDim: 128, dtype: 'f32' } },
  f16: { model: { layers: 1, kvHeads: 8, headDim: 128, dtype: 'f16' } },
} as const;

/** All lines, by 1 thread and by 2. Takes about 2 GiB at most. */
export async function measureArena(turns?: number): Promise<Line[]> {
  const lines: Line[] = [];
  for (const threads of [1, 2]) {
    lines.push(...(await measureCopies('64 KiB blocks', WHOLE, threads, turns)));
    const spread = '64 KiB blocks over 28 layers';
    lines.push(...(await measureCopies(spread, OVER_28_LAYERS, threads, turns)));
    for (const dtype of ['f32', 'f16'] as const) {
      lines.push(...(await measureInt8(dtype, threads, turns)));
    }
  }
  return lines;
}

/** Gathering and scattering, against plain copies of the same pieces by as many threads. */
export async function measureCopies(
  what: string,
  options: Shape,
  threads: number,
  turns?: number,
): Promise<Line[]> {
  using tiers = await Tiers.make(tiersLayout(options), threads);
  const lines: Line[] = [];
  for (const store of [true, false]) {
    const name = `${store ? 'gather' : 'scatter'} of ${MOVED} ${what}, ${threadCount(threads)}`;
    const yardstick = [
      `memcpy of the same pieces, ${threadCount(threads)}`,
      tiers.copier(store),
    ] as const;
    lines.push(await rateAgainst(name, tiers.bytes, tiers.mover(store), yardstick, turns));
    tiers.checkMoved();
  }
  return lines;
}

/** Quantizing and back, in bytes of the device's side, against plain copies of these bytes. */
export async function measureInt8(dtype: DType, threads: number, turns?: number): Promise<Line[]> {
  const layout = tiersLayout(ONE_LAYER[dtype]);
  using quantized = await Tiers.make(layout, threads, 'int8');
  using plain = await Tiers.make(layout, threads);
  const lines: Line[] = [];
  for (const store of [true, false]) {
    const name = `${dtype} ${store ? 'to' : 'from'} int8, ${threadCount(threads)}`;
    const yardstick = `memcpy of the ${dtype} pieces, ${threadCount(threads)}`;
    const run = quantized.mover(store);
    const copies = [yardstick, plain.copier(store)] as const;
    lines.push(await rateAgainst(name, plain.bytes, run, copies, turns));
  }
  return lines;
}
