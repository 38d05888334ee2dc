import { describe, expect, it } from 'vitest';
import { generateTrace } from '../src/cli/bench/generated-trace.js';
import { Noise } from '../src/cli/bench/machine.js';
import { measureRecompute, recomputeLines } from '../src/cli/bench/recompute.js';

/** Virtual time: the same on every machine. */
const SEED = 1;

function generated(requests: number) {
  const noise = new Noise(SEED, 0);
  return generateTrace(requests, () => noise.next());
}

describe('swap or recompute, over a generated trace', { timeout: 60_000 }, () => {
  const trace = generated(2000);
  const results = measureRecompute(trace, [0.1, 0.5, 1, 5, 100], SEED);

  it('never costs more than 5% above the better of always and never bringing back', () => {
    for (const { ratio } of recomputeLines(trace, results)) expect(ratio).toBeLessThan(1.05);
  });

  it('saves what each pure choice loses', () => {
    const slow = results[0]!;
    expect(slow.always / slow.never).toBeGreaterThan(1.5);
    const fast = results.at(-1)!;
    expect(fast.never / fast.always).toBeGreaterThan(1.5);
  });

  it('names what each line is about', () => {
    const [line] = recomputeLines(trace, results);
    const { always, never, auto } = results[0]!;
    expect(line).toMatchObject({
      value: auto,
      unit: 's',
      yardstick: 'always computed',
      ratio: auto / Math.min(always, never),
    });
    expect(line!.name).toContain('at 0.1 times the rate of computing');
  });
});

describe('a generated trace', () => {
  it('is the same for the same seed, and of conversations that go on', () => {
    const { requests, blocks } = generated(300);
    expect(generated(300).requests.runs).toEqual(requests.runs);
    expect(blocks).toBeGreaterThan(1000);
    const continued = requests.previous.filter((request) => request >= 0);
    expect(continued.length).toBeGreaterThan(200);
  });
});

describe('noise', () => {
  it('has a mean of one, and is the same for the same event', () => {
    const factors = Array.from({ length: 20_000 }, (_, event) => new Noise(3, event).factor(0.6));
    const mean = factors.reduce((a, b) => a + b) / factors.length;
    expect(mean).toBeCloseTo(1, 1);
    expect(new Noise(3, 7).factor(0.6)).toBe(factors[7]);
  });
});
