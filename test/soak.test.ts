/** A short run of the soak; `npm run soak` is the long one. */
import { describe, expect, it } from 'vitest';
import type { EvictionPolicy } from '../src/index.js';
import { generateTrace } from '../src/cli/bench/generated-trace.js';
import { MAX_TOKENS, soak, type SoakResult } from '../bench/soak/soak.js';
import { GeneratedTraffic, TraceTraffic, type Traffic } from '../bench/soak/traffic.js';
import { Random, replay, seed } from './device.random.js';

const MIB = 2 ** 20;

function shortSoak(
  eviction: EvictionPolicy = 'lru',
  traffic: Traffic = new GeneratedTraffic(seed, MAX_TOKENS),
): Promise<SoakResult> {
  return soak({ seed, hours: 0.03, rounds: 3, traffic, eviction });
}

describe(`an engine that serves on a virtual clock (${replay})`, () => {
  it('ends with nothing in use, and with the memory that it began with', async () => {
    const { operations, faults, moved, grown, stats } = await shortSoak();
    expect([stats.device.free, stats.host.free]).toEqual([stats.device.total, stats.host.total]);
    expect(stats.failedTransfers).toBeGreaterThan(0);
    for (const count of Object.values({ ...faults, ...moved })) expect(count).toBeGreaterThan(0);
    expect(operations.requests).toBeGreaterThan(50);
    expect(grown.external).toBeLessThan(2 ** 16);
    expect(grown.heap).toBeLessThan(4 * MIB);
    expect(grown.native).toBeLessThan(MIB);
  });

  it('does the same again with the same seed', async () => {
    const first = await shortSoak();
    expect((await shortSoak()).digest).toBe(first.digest);
  });

  it.each(['adaptive', 'arc'] as const)('does so where %s says who is evicted', async (policy) => {
    const { stats } = await shortSoak(policy);
    expect(stats.device.free).toBe(stats.device.total);
  });

  it('does so with the requests of a trace', async () => {
    const random = new Random('a trace to soak in');
    const trace = generateTrace(60, () => random.next());
    const { operations } = await shortSoak('lru', new TraceTraffic(trace, seed, MAX_TOKENS));
    expect(operations.finished).toBeGreaterThan(50);
  });
});
