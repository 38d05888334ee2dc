import { expect, it } from 'vitest';
import { WebGpuCache } from '../src/device/webgpu.js';
import type { Attention, CacheLayout } from '../src/plan.js';
import { FakeWork, oddLayout } from './device.fakes.js';
import { describeOnGpu, download } from './device.gpu.js';

const ROWS = 6;
const CELLS = 2000;

function layout(): CacheLayout {
  return oddLayout({
    blockSize: 4,
    deviceBlocks: 8,
    maxSequences: ROWS,
    maxBlocksPerSequence: CELLS,
  });
}

/** A step that changed some cells: the tables of each group, and what to upload of them. */
function step(tokens: number, groups: readonly (readonly [Int32Array, number[][]])[]): Attention {
  return {
    batch: 2,
    tokens,
    rows: Uint32Array.of(4, 1),
    pastLengths: Int32Array.of(30, 7),
    cumulativeLengths: Int32Array.of(0, 1, tokens),
    skipped: new Uint32Array(2),
    serial: 1,
    rowSerials: new Uint32Array(ROWS),
    groups: groups.map(([blockTable, updates], g) => ({
      blockTable,
      tableUpdates: Uint32Array.from(updates.flat()),
      slotMapping: Int32Array.from({ length: tokens }, (_, i) => i * 3 - 1 + g),
    })),
  };
}

/** A step that changed no table. */
function plainStep(tokens: number): FakeWork {
  const none = new Int32Array(ROWS * CELLS);
  return new FakeWork(
    {},
    step(tokens, [
      [none, []],
      [none, []],
    ]),
  );
}

async function words(device: GPUDevice, binding: GPUBufferBinding): Promise<number[]> {
  const { buffer, offset, size } = binding;
  return [...new Int32Array(await download(device, buffer, offset, size))];
}

await describeOnGpu('the tables on a GPU', (device) => {
  it('take over the changed cells of every group, and only those', async () => {
    using cache = await WebGpuCache.create(device, { layout: layout() });
    const tables = [0, 1].map((g) =>
      Int32Array.from({ length: ROWS * CELLS }, (_, i) => i + g + 1),
    );
    const updates = [
      [
        [1, 10, 30],
        [1, 20, 3],
        [1, 35, 7],
        [1, 900, 2],
        [5, CELLS - 1, 1],
        [0, 0, 1],
      ],
      [[3, 0, CELLS]],
    ];
    const attention = step(
      4,
      tables.map((table, g) => [table, updates[g]!]),
    );
    await cache.execute(new FakeWork({}, attention));
    for (const [g, buffer] of cache.tables.blockTables.entries()) {
      const found = new Int32Array(await download(device, buffer));
      const changed = new Set(
        updates[g]!.flatMap(([row, first, count]) =>
          Array.from({ length: count! }, (_, i) => row! * CELLS + first! + i),
        ),
      );
      for (const cell of changed) expect(found[cell]).toBe(tables[g]![cell]);
      expect([...found].filter((value) => value !== 0).length).toBe(changed.size);
    }
  });

  it('carry the lists of the step executed last, each where it can be bound alone', async () => {
    using cache = await WebGpuCache.create(device, { layout: layout() });
    await cache.execute(plainStep(9));
    await cache.execute(plainStep(3));
    const { tables } = cache;
    expect([tables.batch, tables.tokens]).toEqual([2, 3]);
    expect(await words(device, tables.rows)).toEqual([4, 1]);
    expect(await words(device, tables.pastLengths)).toEqual([30, 7]);
    expect(await words(device, tables.cumulativeLengths)).toEqual([0, 1, 3]);
    const mapping = await words(device, { buffer: tables.slotMappings[1]!, size: 12 });
    expect(mapping).toEqual([0, 3, 6]);
    expect(tables.pastLengths.offset! % device.limits.minStorageBufferOffsetAlignment).toBe(0);
  });

  it('make room for a step with more tokens than any before', async () => {
    using cache = await WebGpuCache.create(device, { layout: layout() });
    const before = cache.tables.version;
    await cache.execute(plainStep(5000));
    expect(cache.tables.version).toBeGreaterThan(before);
    const mapping = await words(device, { buffer: cache.tables.slotMappings[0]!, size: 20_000 });
    expect(mapping).toEqual(Array.from({ length: 5000 }, (_, i) => i * 3 - 1));
  });

  it('stay as they are when a transfer is executed', async () => {
    using cache = await WebGpuCache.create(device, { layout: layout() });
    await cache.execute(plainStep(3));
    await cache.execute(new FakeWork());
    expect(cache.tables.tokens).toBe(3);
  });
});
