/** What the garbage collector has to do with it: nothing in a decode loop, and the last word on what was lost. */
import { PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Batch, KvCacheManager, Sequence } from '../src/index.js';
import { ids, openComputed, smallManager } from './api.helpers.js';

/** A decode loop of sequences that never end: each gives back its tail before it is full. */
class DecodeLoop {
  readonly kv: KvCacheManager;
  readonly #chats: readonly Sequence[];
  readonly #batch: Batch;
  /** Ones that a caller would send to a device; read so that reading is measured too. */
  checksum = 0;

  constructor(sequences: number) {
    this.kv = smallManager({
      maxSequences: sequences,
      maxBatchSequences: sequences,
      maxSequenceTokens: 256,
      device: { blocks: sequences * 80 },
    });
    // Of different lengths, so that in each step another number of them needs a block.
    this.#chats = Array.from({ length: sequences }, (_, i) =>
      openComputed(this.kv, ids(1 + (i % 5), i * 1000)),
    );
    this.#batch = this.kv.batch();
  }

  run(steps: number): void {
    for (let i = 0; i < steps; i++) this.#step(i);
  }

  #step(i: number): void {
    const chats = this.#chats;
    const batch = this.#batch;
    batch.clear();
    for (let j = 0; j < chats.length; j++) {
      const chat = chats[j]!;
      if (chat.length > 200) chat.truncate(3 + (i & 31));
      batch.addToken(chat, (i + j) & 0xffff);
    }
    const step = this.kv.schedule(batch);
    if (!step.ok) throw new Error('out of blocks');
    const { attention, moves } = step;
    const tables = attention.groups[0]!;
    this.checksum =
      (this.checksum +
        attention.rows[0]! +
        attention.pastLengths.length +
        attention.cumulativeLengths[1]! +
        tables.slotMapping[0]! +
        tables.tableUpdates.length +
        moves.copies.length) |
      0;
    step.beginExecute();
    step.endExecute(true);
    step.commit();
  }
}

describe('a decode loop', () => {
  let observer: PerformanceObserver | undefined;

  afterEach(() => observer?.disconnect());

  it('of 100,000 steps collects no garbage, and one of a million keeps no memory', async () => {
    const collections: PerformanceEntry[] = [];
    observer = new PerformanceObserver((list) => collections.push(...list.getEntries()));
    observer.observe({ entryTypes: ['gc'] });
    const loop = new DecodeLoop(8);
    loop.run(200_000);
    gc!();
    await sleep(20);

    const heapBefore = process.memoryUsage().heapUsed;
    const begin = performance.now();
    loop.run(100_000);
    const end = performance.now();
    const heapAfter = process.memoryUsage().heapUsed;
    await sleep(20);
    const during = collections.filter(({ startTime }) => startTime >= begin && startTime <= end);
    expect(during).toEqual([]);
    // One number on the heap a step would be 1.2 MB; what is left is the compiler's.
    expect(heapAfter - heapBefore).toBeLessThan(512 * 1024);

    gc!();
    const { heapUsed, rss } = process.memoryUsage();
    loop.run(1_000_000);
    gc!();
    const after = process.memoryUsage();
    expect(after.heapUsed - heapUsed).toBeLessThan(1024 * 1024);
    expect(after.rss - rss).toBeLessThan(16 * 2 ** 20);
    loop.kv.validate();
    loop.kv.close();
  });
});

describe('what is collected', () => {
  const warnings: Error[] = [];
  const listener = (warning: Error) => warnings.push(warning);

  afterEach(() => {
    process.off('warning', listener);
    warnings.length = 0;
  });

  async function collect(until: () => boolean): Promise<void> {
    for (let i = 0; i < 100 && !until(); i++) {
      // What a weak reference gave away is held until the end of the turn.
      await sleep(5);
      gc!();
      await sleep(5);
    }
  }

  it('is closed with one warning when it was an open sequence', async () => {
    process.on('warning', listener);
    using kv = smallManager();
    const lose = () => {
      for (let i = 0; i < 3; i++) openComputed(kv, ids(6, i * 10));
    };
    lose();
    expect(kv.stats().sequences).toBe(3);
    await collect(() => warnings.length === 3);
    expect(warnings).toHaveLength(3);
    expect(warnings[0]).toMatchObject({ code: 'PAGEDKV_SEQUENCE_COLLECTED' });
    expect(kv.stats().sequences).toBe(0);
    kv.validate();
  });

  it('goes without a word when it was closed, or its manager was', async () => {
    process.on('warning', listener);
    const kv = smallManager({ maxSequences: 32 });
    const lost: WeakRef<Sequence>[] = [];
    const lose = (i: number) => {
      const closed = kv.open(ids(3, i));
      closed.close();
      lost.push(new WeakRef(closed), new WeakRef(kv.open(ids(4, i))));
    };
    for (let i = 0; i < 32; i++) lose(i);
    kv.close();
    // The last ones may still stand in a register.
    const isLost = () => lost.filter((reference) => reference.deref() === undefined).length > 48;
    await collect(isLost);
    await sleep(20);
    expect(isLost()).toBe(true);
    expect(warnings).toEqual([]);
  });

  it('gives back its memory when it was a manager', async () => {
    const round = async () => {
      const make = () => {
        for (let i = 0; i < 20; i++) smallManager({ device: { blocks: 2 ** 15 } });
      };
      make();
      for (let i = 0; i < 4; i++) {
        gc!();
        await sleep(5);
      }
    };
    // Freed memory is used again only once the allocator has learned the sizes that are asked for.
    for (let i = 0; i < 8; i++) await round();
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 10; i++) await round();
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20);
  });
});
