import { describe, expect, it } from 'vitest';
import { planSlabs, type SlabLimits } from '../src/device/slabs.js';
import { groupLayout, layoutOf, modelLayout } from './device.fakes.js';

const MODEL = { layers: 28, kvHeads: 8, headDim: 128, dtype: 'f16' } as const;
const LIMITS: SlabLimits = {
  maxBufferSize: 2 ** 28,
  maxStorageBufferBindingSize: 2 ** 27,
  minStorageBufferOffsetAlignment: 256,
};

describe('the planning of slabs', () => {
  it('puts many layers into a slab and no slab over what can be bound', () => {
    const layout = modelLayout(MODEL, { blockSize: 16, deviceBlocks: 1000 });
    const { slabs, ranges } = planSlabs(layout, LIMITS);
    const plane = 1000 * 16 * 2048;
    expect(ranges[0]).toHaveLength(56);
    expect(slabs).toHaveLength(14);
    for (const size of slabs) expect(size).toBeLessThanOrEqual(LIMITS.maxStorageBufferBindingSize);
    for (const range of ranges[0]!) expect(range.size).toBe(plane);
  });

  it('aligns every plane, lets none overlap and reaches past no end', () => {
    const size = { blockSize: 7, deviceBlocks: 5 };
    const planes = [36, 4, 100, 260].map((bytesPerToken, layer) => {
      return { layer, name: 'key', bytesPerToken };
    });
    const layout = layoutOf([groupLayout('a', planes, size), groupLayout('b', planes, size)], size);
    const { slabs, ranges } = planSlabs(layout, { ...LIMITS, maxBufferSize: 10_000 });
    const ends = slabs.map(() => 0);
    for (const range of ranges.flat()) {
      expect(range.offset % 256).toBe(0);
      expect(range.offset).toBeGreaterThanOrEqual(ends[range.slab]!);
      ends[range.slab] = range.offset + range.size;
      expect(ends[range.slab]).toBeLessThanOrEqual(slabs[range.slab]!);
    }
    expect(slabs.length).toBeGreaterThan(1);
  });

  it('says how many blocks would fit when one plane cannot be bound', () => {
    const layout = modelLayout(MODEL, { blockSize: 16, deviceBlocks: 5000 });
    expect(() => planSlabs(layout, LIMITS)).toThrow(
      expect.objectContaining({
        code: 'PLANE_TOO_LARGE',
        message: expect.stringContaining('at most 4096 device blocks') as string,
      }),
    );
  });

  it('refuses planes whose tokens are not whole words', () => {
    const size = { blockSize: 16, deviceBlocks: 4 };
    const planes = [{ layer: 0, name: 'scale', bytesPerToken: 6 }];
    const layout = layoutOf([groupLayout('a', planes, size)], size);
    expect(() => planSlabs(layout, LIMITS)).toThrow(
      expect.objectContaining({ code: 'PLANE_ALIGNMENT' }),
    );
  });
});
