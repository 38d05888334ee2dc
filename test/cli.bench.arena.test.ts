import { expect, it } from 'vitest';
import { measureAccuracy } from '../src/cli/bench/accuracy.js';
import { measureCopies, measureInt8 } from '../src/cli/bench/arena.js';
import { alternate, lineBelow, rateAgainst } from '../src/cli/bench/line.js';
import { measureHostSwap } from '../src/cli/bench/swap-host.js';

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

it('a cache in host memory is measured, with a plane for the keys and values of each layer', async () => {
  const lines = await measureHostSwap(1);
  expect(lines.map(({ name, unit }) => [name.slice(0, 13), unit])).toEqual([
    ['host swap out', 'GB/s'],
    ['host swap in ', 'GB/s'],
  ]);
  for (const { ratio } of lines) expect(ratio).toBeGreaterThan(0);
});

it('keys, values and attention that came back from int8 are off, and by less than is promised', async () => {
  const lines = await measureAccuracy(2);
  expect(lines.map(({ name }) => /of (.*?) in int8/.exec(name)![1])).toEqual([
    'K',
    'V',
    'the attention output',
  ]);
  for (const { value, ratio, unit, yardstick } of lines) {
    expect([unit, yardstick]).toEqual(['%', '1 %']);
    expect(value).toBeGreaterThan(0.5);
    expect(ratio).toBeLessThan(1);
  }
});

it('a rate is that of the middle turn, after those that warm up, and so is its ratio to the yardstick', async () => {
  const own = [9, 9, 1, 4, 2];
  const other = [9, 9, 2, 2, 2];
  const line = await rateAgainst('a', 2e9, () => own.shift()!, ['b', () => other.shift()!], 3);
  expect(line).toEqual({ name: 'a', value: 1, unit: 'GB/s', yardstick: 'b', ratio: 1 });
});

it('an operation and its yardstick take turns in being the first', async () => {
  const calls: string[] = [];
  const call = (name: string) => (): Promise<number> => {
    calls.push(name);
    return Promise.resolve(calls.length);
  };
  const turns = await alternate(call('own'), call('other'), 2);
  expect(calls.slice(-4)).toEqual(['own', 'other', 'other', 'own']);
  expect(turns).toEqual([
    { own: 5, other: 6 },
    { own: 8, other: 7 },
  ]);
});

it('what has a limit is held against it', () => {
  const line = lineBelow('a', [5, 1, 3], 'ms', ['2 ms', 2]);
  expect(line).toEqual({ name: 'a', value: 3, unit: 'ms', yardstick: '2 ms', ratio: 1.5 });
});
