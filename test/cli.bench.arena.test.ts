import { expect, it } from 'vitest';
import { measureCopies, measureInt8 } from '../src/cli/bench/arena.js';
import { rateAgainst } from '../src/cli/bench/line.js';

it('the arena is measured and each figure held against plain copies', async () => {
  const lines = await measureInt8('f16', 2, 1);
  expect(lines.map(({ name, unit, yardstick }) => [name, unit, yardstick])).toEqual([
    ['f16 to int8, 2 threads', 'GB/s', 'memcpy of the f16 pieces, 2 threads'],
    ['f16 from int8, 2 threads', 'GB/s', 'memcpy of the f16 pieces, 2 threads'],
  ]);
  for (const { value, ratio } of lines) {
    expect(value).toBeGreaterThan(0);
    expect(ratio).toBeGreaterThan(0);
  }
});

it('what is measured is moved right, over many planes, too', async () => {
  const model = { layers: 28, kvHeads: 1, headDim: 36, dtype: 'f16' } as const;
  const lines = await measureCopies('blocks', { model }, 2, 1);
  expect(lines.map(({ name }) => name)).toEqual([
    'gather of 1000 blocks, 2 threads',
    'scatter of 1000 blocks, 2 threads',
  ]);
});

it('a rate is that of the middle turn, after one that warms up', () => {
  const own = [9, 1, 4, 2];
  const other = [9, 2, 2, 2];
  const line = rateAgainst('a', 2e9, () => own.shift()!, ['b', () => other.shift()!], 3);
  expect(line).toEqual({ name: 'a', value: 1, unit: 'GB/s', yardstick: 'b', ratio: 1 });
});
