import { expect, it } from 'vitest';
import { measureBlocking } from '../src/cli/bench/blocking.js';
import { measureDecoding } from '../src/cli/bench/decoding.js';
import { measureEncoding } from '../src/cli/bench/encode.js';
import { measureGpuSwap } from '../src/cli/bench/swap-webgpu.js';
import { describeOnGpu } from './device.gpu.js';

await describeOnGpu('the benchmark of swaps on a GPU', (device) => {
  it.each(['kernel', 'copies'] as const)(
    'holds scattered blocks against contiguous bytes, each way, by %s',
    async (moves) => {
      const options = { stagingBytes: 2 ** 18, moves };
      const lines = await measureGpuSwap(device, { blocks: 11, layers: 3, turns: 1, options });
      expect(lines.map(({ name }) => name)).toEqual(
        ['out', 'in'].map(
          (way) => `swap ${way} 11 blocks of 64 KiB, keys and values of 3 layers, by ${moves}`,
        ),
      );
      for (const { value, ratio, unit } of lines) {
        expect(unit).toBe('GB/s');
        expect(value).toBeGreaterThan(0);
        expect(ratio).toBeGreaterThan(0);
      }
    },
  );

  it('tells the time of the thread that encoding takes, and in which others are kept waiting', async () => {
    const encoding = await measureEncoding(device, 1, 200);
    expect([encoding.unit, encoding.yardstick]).toEqual(['ms', '2 ms of CPU']);
    expect(encoding.value).toBeGreaterThan(0);
    const blocking = await measureBlocking(device, 1);
    expect([blocking.unit, blocking.yardstick]).toEqual(['ms', '5 % of the pass, 2.5 ms']);
    expect(blocking.value).toBeLessThan(Infinity);
  });

  it('decodes with swaps beside it, on any adapter', async () => {
    const model = { layers: 2, kvHeads: 2, headDim: 8, dtype: 'f32' } as const;
    const setup = { model, queryHeads: 4, sequences: 3, tokens: 40, passes: 20 };
    const line = await measureDecoding(device, 2, setup);
    expect(line.name).toBe(
      'decode 3 sequences of 40 tokens, in 20 passes one swapped out and one in',
    );
    expect(line.value).toBeGreaterThan(0);
    expect(line.ratio).toBeGreaterThan(0);
  });
});
