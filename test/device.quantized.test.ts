/** A host tier in int8: what comes back is off by no more than is promised, and attention hardly notices. */
import { describe, expect, it } from 'vitest';
import { HostAttention } from '../src/attention/host.js';
import { fromHalf, toHalf } from '../src/attention/half.js';
import {
  HostCache,
  poisonBlocks,
  type HostCacheOptions,
  type PlaneView,
} from '../src/device/host.js';
import { recordLayout } from '../src/device/quantized.js';
import type { CacheLayout } from '../src/plan.js';
import { AttentionCase, LAYER, nameOf, shapes } from './attention.cases.js';
import { relativeL2 } from './attention.naive.js';
import { FakeWork, modelLayout, oddLayout } from './device.fakes.js';
import { Random, replay } from './device.random.js';

const MODEL = { layers: 2, kvHeads: 2, headDim: 64, dtype: 'f32' } as const;
/** More than a megabyte, so that other threads move it. */
const SIZE = { blockSize: 16, deviceBlocks: 50, hostBlocks: 50 };

function withHostTier(layout: CacheLayout): CacheLayout {
  const groups = layout.groups.map((group) => ({ ...group, hostBlocks: group.deviceBlocks }));
  return { ...layout, groups };
}

/** Every block to the host tier and back, with NaN on the device meanwhile. */
async function swapOutAndIn(cache: HostCache): Promise<void> {
  const blocks = [...Array(cache.layout.groups[0]!.deviceBlocks).keys()];
  const pairs = blocks.map((block) => [0, block, blocks.length - 1 - block] as const);
  await cache.execute(new FakeWork({ offloads: pairs }));
  await poisonBlocks(cache, 0);
  await cache.execute(new FakeWork({ onboards: pairs.map(([g, d, h]) => [g, h, d] as const) }));
}

/** What was before went to the host tier and came back. Queries are as normal as keys are. */
async function attendAfterSwap(
  paged: AttentionCase,
  options: HostCacheOptions,
): Promise<Float32Array> {
  using cache = new HostCache({ layout: withHostTier(paged.layout) }, options);
  await poisonBlocks(cache, 0);
  const attention = new HostAttention(cache, { queryHeads: paged.shape.queryHeads });
  attention.write(paged.before, LAYER, paged.past('key'), paged.past('value'));
  await swapOutAndIn(cache);
  attention.write(paged.step, LAYER, paged.fresh('key'), paged.fresh('value'));
  const query = paged.query.map((value) => value / 2);
  return attention.attend(paged.step, LAYER, query);
}

function planesOf(cache: HostCache): PlaneView[] {
  return [0, 1].flatMap((layer) => [cache.key(layer), cache.value(layer)]);
}

function valuesOf(plane: PlaneView): Float32Array {
  return plane instanceof Float32Array ? plane.slice() : Float32Array.from(plane, fromHalf);
}

describe(`a host tier in int8 (${replay})`, () => {
  const random = new Random('quantized shapes');
  const all = [...shapes(random, 'f32'), ...shapes(random, 'f16')];
  it.each(all.map((shape) => [nameOf(shape), shape] as const))(
    'changes attention by less than 1%: %s',
    async (_, shape) => {
      const paged = new AttentionCase(shape);
      const output = await attendAfterSwap(paged, { quantize: 'int8' });
      const expected = await attendAfterSwap(paged, {});
      expect(relativeL2(output, Float64Array.from(expected))).toBeLessThan(0.01);
    },
  );

  it.each(['f32', 'f16'] as const)(
    'brings keys and values of %s back within 1%, and each within half a scale',
    async (dtype) => {
      const layout = modelLayout({ ...MODEL, dtype }, SIZE);
      const cache = new HostCache({ layout }, { quantize: 'int8' });
      const values = new Random('values');
      for (const plane of planesOf(cache)) {
        const floats = values.floats(plane.length);
        plane.set(dtype === 'f32' ? floats : Uint16Array.from(floats, toHalf));
      }
      const before = planesOf(cache).map(valuesOf);
      await swapOutAndIn(cache);
      const after = planesOf(cache).map(valuesOf);
      for (const [i, plane] of before.entries()) {
        expect(relativeL2(after[i]!, Float64Array.from(plane))).toBeLessThan(0.01);
        for (let at = 0; at < plane.length; at += MODEL.headDim) {
          const head = plane.subarray(at, at + MODEL.headDim);
          const max = Math.max(...head.map(Math.abs));
          const off = head.map((value, j) => Math.abs(value - after[i]![at + j]!));
          expect(Math.max(...off)).toBeLessThanOrEqual(max / 254 + max * 2 ** -11);
        }
      }
      cache.destroy();
    },
  );

  it('takes a quarter of the bytes of f32 and half of those of f16, and a scale a head', () => {
    const values = 16 * 2 * 64;
    const scales = 4 * 16 * 2;
    for (const dtype of ['f32', 'f16'] as const) {
      const layout = modelLayout({ ...MODEL, dtype }, SIZE);
      const { bytes, planes } = recordLayout(layout, layout.groups[0]!, 'int8');
      expect(bytes).toBe(4 * (values + scales));
      expect(planes.map(({ offset }) => offset)).toEqual(
        [0, 1, 2, 3].map((plane) => plane * (values + scales)),
      );
    }
  });

  it('shows what is spoilt as NaN', async () => {
    const cache = new HostCache({ layout: modelLayout(MODEL, SIZE) }, { quantize: 'int8' });
    await poisonBlocks(cache, 0, [2], 'host');
    const words = new Float32Array((await cache.readBlock(0, 1, 2, 'host')).buffer);
    expect(words.every(Number.isNaN)).toBe(true);
    const others = new Float32Array((await cache.readBlock(0, 1, 1, 'host')).buffer);
    expect(others.every((value) => value === 0)).toBe(true);
    cache.destroy();
  });

  it.each([
    ['a word that is none', { quantize: 'int4' }, 'INVALID_OPTION'],
    ['a misspelling', { quantise: 'int8' }, 'UNKNOWN_OPTION'],
    ['no object', 'int8', 'INVALID_OPTION'],
  ])('refuses %s', (_, options, code) => {
    const make = (): HostCache =>
      new HostCache({ layout: modelLayout(MODEL, SIZE) }, options as { quantize: 'int8' });
    expect(make).toThrow(expect.objectContaining({ code }));
  });

  it('refuses planes of which nobody knows the elements', () => {
    const bare = { layout: oddLayout(SIZE) };
    expect(() => new HostCache(bare, { quantize: 'int8' })).toThrow(
      expect.objectContaining({ code: 'NO_MODEL' }),
    );
  });
});
