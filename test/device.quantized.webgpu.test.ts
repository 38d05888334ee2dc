/** A host tier in int8 that kernels fill and read: as near as native code is, and readable by it. */
import { describe, expect, it } from 'vitest';
import { fromHalf, toHalf } from '../src/attention/half.js';
import { poisonBlocks, WebGpuCache } from '../src/device/webgpu.js';
import { relativeL2 } from './attention.naive.js';
import { FakeWork, modelLayout } from './device.fakes.js';
import { countCreations, describeOnGpu } from './device.gpu.js';
import { Random, replay } from './device.random.js';

const MODEL = { layers: 3, kvHeads: 3, headDim: 64 } as const;
const SIZE = { blockSize: 5, deviceBlocks: 12, hostBlocks: 12 };
const PLANES = 2 * MODEL.layers;
const VALUES = SIZE.blockSize * MODEL.kvHeads * MODEL.headDim;
/** Pieces of few blocks. */
const TIGHT = { quantize: 'int8', stagingBytes: 14_000 } as const;

type Bytes = Uint8Array<ArrayBuffer>;

function bytesOf(values: Float32Array<ArrayBuffer>, dtype: 'f32' | 'f16'): Bytes {
  const elements = dtype === 'f32' ? values : Uint16Array.from(values, toHalf);
  return new Uint8Array(elements.buffer);
}

function valuesOf(bytes: Bytes, dtype: 'f32' | 'f16'): Float32Array {
  if (dtype === 'f32') return new Float32Array(bytes.buffer);
  return Float32Array.from(new Uint16Array(bytes.buffer), fromHalf);
}

function expectNear(after: Float32Array, before: Float32Array): void {
  expect(relativeL2(after, Float64Array.from(before))).toBeLessThan(0.01);
  for (let at = 0; at < before.length; at += MODEL.headDim) {
    const head = before.subarray(at, at + MODEL.headDim);
    const max = Math.max(...head.map(Math.abs));
    const off = head.map((value, i) => Math.abs(value - after[at + i]!));
    expect(Math.max(...off)).toBeLessThanOrEqual(max / 254 + max * 2 ** -11);
  }
}

await describeOnGpu(`a host tier in int8 behind a GPU (${replay})`, (device) => {
  describe.each(['f32', 'f16'] as const)('of %s', (dtype) => {
    const layout = modelLayout({ ...MODEL, dtype }, SIZE);

    it('brings keys and values back within 1%, and each within half a scale', async () => {
      using cache = await WebGpuCache.create(device, { layout }, TIGHT);
      const random = new Random(`quantized ${dtype}`);
      const before: Float32Array[] = [];
      const blocks = [...Array(SIZE.deviceBlocks).keys()];
      for (let plane = 0; plane < PLANES; plane++) {
        for (const block of blocks) {
          const bytes = bytesOf(random.floats(VALUES), dtype);
          before.push(valuesOf(bytes, dtype));
          await cache.writeBlock(0, plane, block, bytes);
        }
      }
      const hosts = random.permutation(SIZE.hostBlocks);
      const offloads = blocks.map((block) => [0, block, hosts[block]!] as const);
      await cache.execute(new FakeWork({ offloads }));
      await poisonBlocks(cache, 0);
      const onboards = blocks.map((block) => [0, hosts[block]!, block] as const);
      await cache.execute(new FakeWork({ onboards }));
      for (let plane = 0; plane < PLANES; plane++) {
        for (const block of blocks) {
          const expected = before[plane * blocks.length + block]!;
          const host = await cache.readBlock(0, plane, hosts[block]!, 'host');
          expectNear(valuesOf(host, dtype), expected);
          expectNear(valuesOf(await cache.readBlock(0, plane, block), dtype), expected);
        }
      }
    });

    it('reads what native code wrote, and shows what is spoilt as NaN', async () => {
      using cache = await WebGpuCache.create(device, { layout }, TIGHT);
      const bytes = bytesOf(new Random('native').floats(VALUES), dtype);
      await cache.writeBlock(0, 1, 7, bytes, 'host');
      await poisonBlocks(cache, 0, [3]);
      await cache.execute(new FakeWork({ offloads: [[0, 3, 4]], onboards: [[0, 7, 9]] }));
      const native = await cache.readBlock(0, 1, 7, 'host');
      const brought = valuesOf(await cache.readBlock(0, 1, 9), dtype);
      const unit = dtype === 'f32' ? 0 : 2 ** -10;
      for (const [i, value] of valuesOf(native, dtype).entries()) {
        expect(Math.abs(brought[i]! - value)).toBeLessThanOrEqual(Math.abs(value) * unit);
      }
      await cache.execute(new FakeWork({ onboards: [[0, 4, 10]] }));
      const spoilt = valuesOf(await cache.readBlock(0, 2, 10), dtype);
      expect(spoilt.every(Number.isNaN)).toBe(true);
      const zeros = valuesOf(await cache.readBlock(0, 0, 9), dtype);
      expect(zeros.every((value) => value === 0)).toBe(true);
    });

    it('copies blocks on the device as they are', async () => {
      using cache = await WebGpuCache.create(device, { layout }, TIGHT);
      const bytes = bytesOf(new Random('copies').floats(VALUES), dtype);
      await cache.writeBlock(0, 4, 2, bytes);
      await cache.execute(new FakeWork({ copies: [[0, 2, 8, SIZE.blockSize]] }));
      expect(await cache.readBlock(0, 4, 8)).toEqual(bytes);
    });
  });

  it('moves by kernels', async () => {
    const layout = modelLayout({ ...MODEL, dtype: 'f32' }, SIZE);
    using cache = await WebGpuCache.create(device, { layout }, { quantize: 'int8' });
    expect([cache.moves, cache.quantize]).toEqual(['kernel', 'int8']);
  });

  it.each([
    ['copies, which cannot quantize', MODEL, { moves: 'copies' }, 'INVALID_OPTION'],
    ['a word that is none', MODEL, { quantize: 'int4' }, 'INVALID_OPTION'],
    ['heads that are no whole words', { ...MODEL, headDim: 6 }, {}, 'INVALID_OPTION'],
  ])('refuses %s, before it makes anything', async (_, model, options, code) => {
    const layout = modelLayout({ ...model, dtype: 'f32' }, SIZE);
    using made = countCreations(device);
    const all = { quantize: 'int8', ...options } as { quantize: 'int8' };
    await expect(WebGpuCache.create(device, { layout }, all)).rejects.toEqual(
      expect.objectContaining({ code }),
    );
    expect(made.count).toBe(0);
  });
});
