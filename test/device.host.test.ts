import { describe, expect, it } from 'vitest';
import { HostCache, poisonBlocks } from '../src/device/host.js';
import { FakeWork, modelLayout, oddLayout } from './device.fakes.js';

const MODEL = { layers: 2, kvHeads: 2, headDim: 4, dtype: 'f32' } as const;

function filled(cache: HostCache): HostCache {
  for (const [g, group] of cache.layout.groups.entries()) {
    for (const p of group.planes.keys()) {
      const plane = cache.plane(g, p);
      plane.forEach((_, i) => (plane[i] = (i * 7 + p * 13 + g * 31) & 0xff));
    }
  }
  return cache;
}

describe('memory in host memory', () => {
  it('gives keys and values of a layer as f32, in the order of the attention contract', () => {
    const cache = new HostCache({ layout: modelLayout(MODEL, { blockSize: 4, deviceBlocks: 3 }) });
    expect(cache.key(1)).toBeInstanceOf(Float32Array);
    expect(cache.key(1)).toHaveLength(3 * 4 * 2 * 4);
    cache.value(1)[5] = 2.5;
    expect(cache.value(1)[5]).toBe(2.5);
    expect(cache.key(1)[5]).toBe(0);
  });

  it('gives f16 as bit patterns', () => {
    const model = { ...MODEL, dtype: 'f16' } as const;
    const cache = new HostCache({ layout: modelLayout(model, { blockSize: 4, deviceBlocks: 3 }) });
    expect(cache.key(0)).toBeInstanceOf(Uint16Array);
    expect(cache.key(0)).toHaveLength(3 * 4 * 2 * 4);
  });

  it('has no element type to offer when the layout has no model', () => {
    const cache = new HostCache({ layout: oddLayout({ blockSize: 4, deviceBlocks: 3 }) });
    expect(() => cache.key(0)).toThrow(expect.objectContaining({ code: 'NO_MODEL' }));
    expect(cache.plane(1, 0)).toHaveLength(3 * 4 * 36);
  });

  it('names the plane, group or block that is not there', async () => {
    const cache = new HostCache({ layout: modelLayout(MODEL, { blockSize: 4, deviceBlocks: 3 }) });
    expect(() => cache.key(2)).toThrow(expect.objectContaining({ code: 'UNKNOWN_PLANE' }));
    expect(() => cache.plane(1, 0)).toThrow(expect.objectContaining({ code: 'OUT_OF_RANGE' }));
    const outOfRange = expect.objectContaining({ code: 'OUT_OF_RANGE' });
    await expect(cache.readBlock(0, 0, 3)).rejects.toEqual(outOfRange);
    await expect(cache.readBlock(0, 0, 0, 'host')).rejects.toEqual(outOfRange);
    const wrongLength = cache.writeBlock(0, 0, 0, new Uint8Array(5));
    await expect(wrongLength).rejects.toEqual(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  it('refuses a tier that is none', async () => {
    const cache = new HostCache({ layout: modelLayout(MODEL, { blockSize: 4, deviceBlocks: 3 }) });
    const invalid = expect.objectContaining({ code: 'INVALID_ARGUMENT' });
    const tier = 'disk' as 'host';
    await expect(cache.readBlock(0, 0, 0, tier)).rejects.toEqual(invalid);
    await expect(poisonBlocks(cache, 0, undefined, tier)).rejects.toEqual(invalid);
  });

  it('reads back the block that was written, in either tier', async () => {
    const layout = oddLayout({ blockSize: 4, deviceBlocks: 3, hostBlocks: 2 });
    const cache = new HostCache({ layout });
    const bytes = Uint8Array.from({ length: 4 * 36 }, (_, i) => i);
    await cache.writeBlock(1, 0, 1, bytes, 'host');
    expect(await cache.readBlock(1, 0, 1, 'host')).toEqual(bytes);
    expect(await cache.readBlock(1, 0, 1, 'device')).toEqual(new Uint8Array(4 * 36));
  });

  it('offloads, then onboards, then copies', async () => {
    const layout = oddLayout({ blockSize: 4, deviceBlocks: 4, hostBlocks: 2 });
    const cache = filled(new HostCache({ layout }));
    const zero = await cache.readBlock(0, 1, 0);
    const work = new FakeWork({
      offloads: [[0, 0, 1]],
      onboards: [[0, 1, 2]],
      copies: [[0, 2, 3, 4]],
    });
    await cache.execute(work);
    expect(await cache.readBlock(0, 1, 1, 'host')).toEqual(zero);
    expect(await cache.readBlock(0, 1, 2)).toEqual(zero);
    expect(await cache.readBlock(0, 1, 3)).toEqual(zero);
    expect(work.events).toEqual(['begin', 'done']);
  });

  it('copies only the tokens that a partial copy names', async () => {
    const layout = oddLayout({ blockSize: 4, deviceBlocks: 4 });
    const cache = filled(new HostCache({ layout }));
    const [source, before] = [await cache.readBlock(0, 1, 1), await cache.readBlock(0, 1, 2)];
    await cache.execute(new FakeWork({ copies: [[0, 1, 2, 3]] }));
    const after = await cache.readBlock(0, 1, 2);
    expect(after.subarray(0, 3 * 256)).toEqual(source.subarray(0, 3 * 256));
    expect(after.subarray(3 * 256)).toEqual(before.subarray(3 * 256));
  });

  it.each([
    ['rising', [0, 1, 2]],
    ['falling', [2, 1, 0]],
  ])('moves %s neighbours each to its own target', async (_, order) => {
    const layout = oddLayout({ blockSize: 4, deviceBlocks: 4, hostBlocks: 4 });
    const cache = filled(new HostCache({ layout }));
    const blocks = await Promise.all([0, 1, 2].map((block) => cache.readBlock(0, 2, block)));
    await cache.execute(new FakeWork({ offloads: order.map((b) => [0, b, b + 1] as const) }));
    for (const [b, bytes] of blocks.entries()) {
      expect(await cache.readBlock(0, 2, b + 1, 'host')).toEqual(bytes);
    }
  });

  it('ends the work as failed and passes the error on when a move is impossible', async () => {
    const layout = oddLayout({ blockSize: 4, deviceBlocks: 4, hostBlocks: 1 });
    const cache = new HostCache({ layout });
    const work = new FakeWork({ offloads: [[0, 0, 1]] });
    const outOfRange = expect.objectContaining({ code: 'OUT_OF_RANGE' });
    await expect(cache.execute(work)).rejects.toEqual(outOfRange);
    expect(work.events).toEqual(['begin', 'failed']);
  });

  describe('that is moved by other threads, as many bytes are,', () => {
    /** 2 MiB a plane. */
    const LARGE = { blockSize: 256, deviceBlocks: 64, hostBlocks: 64 };
    const BLOCKS = [...Array(LARGE.deviceBlocks).keys()];
    const OUT = { offloads: BLOCKS.map((block) => [0, block, 63 - block] as const) };

    it('is done when the promise is, and not before', async () => {
      const cache = filled(new HostCache({ layout: oddLayout(LARGE) }));
      const before = cache.plane(0, 1).slice();
      const out = new FakeWork(OUT);
      const executed = cache.execute(out);
      expect(out.events).toEqual(['begin']);
      await executed;
      expect(out.events).toEqual(['begin', 'done']);
      cache.plane(0, 1).fill(0);
      await cache.execute(new FakeWork({ onboards: BLOCKS.map((b) => [0, 63 - b, b] as const) }));
      expect(Buffer.compare(cache.plane(0, 1), before)).toBe(0);
      cache.destroy();
    });

    it('moves in the order of the calls, small work behind large', async () => {
      const cache = filled(new HostCache({ layout: oddLayout(LARGE) }));
      const block = await cache.readBlock(0, 2, 5);
      const works = [
        new FakeWork(OUT),
        new FakeWork({ onboards: [[0, 63 - 5, 6]] }),
        new FakeWork({ copies: [[0, 6, 7, 256]] }),
      ];
      await Promise.all(works.map((work) => cache.execute(work)));
      expect(works.map(({ events }) => events)).toEqual(Array(3).fill(['begin', 'done']));
      expect(await cache.readBlock(0, 2, 7)).toEqual(block);
      cache.destroy();
    });

    it('fails alone where a block is not there', async () => {
      const cache = filled(new HostCache({ layout: oddLayout(LARGE) }));
      const bad = new FakeWork({ offloads: [...OUT.offloads, [0, 64, 0]] });
      const good = new FakeWork(OUT);
      const failed = expect(cache.execute(bad)).rejects.toEqual(
        expect.objectContaining({ code: 'OUT_OF_RANGE' }),
      );
      await cache.execute(good);
      await failed;
      expect([bad.events, good.events]).toEqual([
        ['begin', 'failed'],
        ['begin', 'done'],
      ]);
      cache.destroy();
    });

    it('ends as failed where the cache is destroyed meanwhile', async () => {
      const cache = filled(new HostCache({ layout: oddLayout(LARGE) }));
      const works = [new FakeWork(OUT), new FakeWork({ onboards: [[0, 63 - 5, 6]] })];
      const executed = works.map((work) => cache.execute(work));
      await Promise.resolve();
      cache.destroy();
      const results = await Promise.allSettled(executed);
      expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
      expect(works.map(({ events }) => events)).toEqual(Array(2).fill(['begin', 'failed']));
    });
  });

  it('shows NaN in blocks that were poisoned, and nowhere else', async () => {
    const cache = new HostCache({ layout: modelLayout(MODEL, { blockSize: 4, deviceBlocks: 3 }) });
    await poisonBlocks(cache, 0, [1]);
    const keys = cache.key(0);
    expect(keys.every((value, i) => Number.isNaN(value) === (i >= 32 && i < 64))).toBe(true);
  });

  it('refuses to work once destroyed', async () => {
    const cache = new HostCache({ layout: oddLayout({ blockSize: 4, deviceBlocks: 4 }) });
    cache.destroy();
    const work = new FakeWork();
    const destroyed = expect.objectContaining({ code: 'CACHE_DESTROYED' });
    await expect(cache.execute(work)).rejects.toEqual(destroyed);
    expect(work.events).toEqual([]);
  });
});
