/** What decode steps leave behind: collections, and growth of the heap and of the process. */
import { PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { DecodeLoop } from './decode-loop.js';

export interface Garbage {
  readonly steps: number;
  readonly seconds: number;
  readonly collections: number;
  /** After less before, with all garbage collected before and after. */
  readonly heapBytes: number;
  readonly rssBytes: number;
}

/** So many steps that every path is compiled and every page of memory was touched. */
const WARM_UP_STEPS = 100_000;
const FEW = 100_000;
const MANY = 1_000_000;

/** Of 100,000 steps; and of 1,000,000, where these take less than `seconds`. */
export async function measureGarbage(seconds: number): Promise<readonly Garbage[]> {
  const collections: PerformanceEntry[] = [];
  const observer = new PerformanceObserver((list) => collections.push(...list.getEntries()));
  observer.observe({ entryTypes: ['gc'] });
  const loop = new DecodeLoop(4096);
  run(loop, WARM_UP_STEPS);
  const few = await watch(loop, FEW, collections);
  const isQuick = few.seconds * (MANY / FEW) < seconds;
  const all = isQuick ? [few, await watch(loop, MANY, collections)] : [few];
  observer.disconnect();
  loop.kv.validate();
  loop.kv.close();
  return all;
}

function run(loop: DecodeLoop, steps: number): void {
  for (let i = 0; i < steps; i++) {
    loop.rewind();
    loop.step();
  }
}

async function watch(
  loop: DecodeLoop,
  steps: number,
  collections: readonly PerformanceEntry[],
): Promise<Garbage> {
  gc!();
  await sleep(20); // until the observer was told of that one
  const before = process.memoryUsage();
  const begin = performance.now();
  run(loop, steps);
  const end = performance.now();
  await sleep(20);
  const during = collections.filter(({ startTime }) => startTime >= begin && startTime <= end);
  gc!();
  const after = process.memoryUsage();
  return {
    steps,
    seconds: (end - begin) / 1000,
    collections: during.length,
    heapBytes: after.heapUsed - before.heapUsed,
    rssBytes: after.rss - before.rss,
  };
}
