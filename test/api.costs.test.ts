import { describe, expect, it } from 'vitest';
import type { KvCacheManager, KvCacheManagerOptions } from '../src/index.js';
import { HostCache } from '../src/device/host.js';
import {
  BLOCK,
  coded,
  compute,
  ids,
  mustSchedule,
  openComputed,
  smallManager,
} from './api.helpers.js';
import { wrong } from './api.scene.js';

/** Computing a block takes 4 ms. */
function teach(kv: KvCacheManager, blockMilliseconds: number): void {
  for (let i = 0; i < 10; i++) {
    kv.reportPrefill({ tokens: 100, milliseconds: 100 });
    kv.reportTransfer({ direction: 'onboard', blocks: 10, milliseconds: 10 * blockMilliseconds });
    kv.reportTransfer({ direction: 'offload', blocks: 10, milliseconds: 10 * blockMilliseconds });
  }
}

/** Of a prompt of 16 tokens, 8 are on the device and 8 on the host. */
function halfOnHost(options: Partial<KvCacheManagerOptions> = {}): KvCacheManager {
  const kv = smallManager({ device: { blocks: 5 }, host: { blocks: 8 }, ...options });
  openComputed(kv, ids(16)).close();
  openComputed(kv, ids(12, 100)).close();
  expect(kv.lookup(ids(17))).toMatchObject({ device: 8, host: 8 });
  return kv;
}

describe('what is on the host', () => {
  it('is brought back until both passes and transfers were reported', () => {
    using kv = halfOnHost();
    kv.reportTransfer({ direction: 'onboard', blocks: 1, milliseconds: 1e6 });
    expect(kv.lookup(ids(17)).worth).toBe(8);
    expect(kv.open(ids(17)).cachedTokens).toBe(16);
    expect(kv.stats().costs.prefill).toBeUndefined();
  });

  it('is computed again where that takes less time, and the step tells', () => {
    using kv = halfOnHost();
    teach(kv, 400);
    expect(kv.lookup(ids(17))).toMatchObject({ device: 8, host: 8, worth: 0 });
    const chat = kv.open(ids(17));
    expect(chat.cachedTokens).toBe(8);
    const step = mustSchedule(kv, [{ sequence: chat, tokens: ids(9, 8) }]);
    expect(step.moves.onboards).toHaveLength(0);
    expect([...step.hostHits]).toEqual([0, 0, 8]);
    step.commit();
    expect(kv.stats()).toMatchObject({
      recomputedTokens: 8,
      recomputeChoices: 1,
      onboardChoices: 0,
    });
    kv.validate();
  });

  it('is brought back where that takes less time, and the step tells', () => {
    using kv = halfOnHost();
    teach(kv, 0.04);
    expect(kv.lookup(ids(17)).worth).toBe(8);
    const chat = kv.open(ids(17));
    expect(chat.cachedTokens).toBe(16);
    const step = mustSchedule(kv, [{ sequence: chat, tokens: [16] }]);
    expect([...step.hostHits]).toEqual([0, 2, 0]);
    step.commit();
    expect(() => step.hostHits).toThrow(coded('STEP_CLOSED'));
    expect(kv.stats()).toMatchObject({
      recomputedTokens: 0,
      recomputeChoices: 0,
      onboardChoices: 1,
    });
  });

  it('comes back always, or never, where the options say so', () => {
    using always = halfOnHost({ onboard: 'always' });
    teach(always, 400);
    expect(always.open(ids(17)).cachedTokens).toBe(16);
    using never = halfOnHost({ onboard: 'never' });
    teach(never, 0.04);
    expect(never.open(ids(17)).cachedTokens).toBe(8);
    expect(() => smallManager({ onboard: wrong('seldom') })).toThrow(coded('INVALID_OPTION'));
  });

  it('is held by a pin, and brought back by a prefetch, whatever it takes', () => {
    using kv = halfOnHost({ onboard: 'never' });
    const pin = kv.pin(ids(17));
    expect(pin.tokens).toBe(16);
    pin.unpin();
    const step = kv.prefetch(ids(17));
    if (!step.ok) throw new Error('it fits');
    expect(step.moves.onboards).toHaveLength(6);
    step.commit();
    expect(kv.lookup(ids(17)).device).toBe(16);
  });
});

describe('reports', () => {
  it('show in the statistics', () => {
    using kv = smallManager();
    expect(kv.stats().costs).toEqual({
      offload: undefined,
      onboard: undefined,
      prefill: undefined,
    });
    for (const blocks of [1, 5, 20, 60, 1, 5, 20, 60]) {
      kv.reportTransfer({ direction: 'onboard', blocks, milliseconds: 3 + 2 * blocks });
      kv.reportTransfer({ direction: 'offload', blocks, milliseconds: 4 * blocks });
      kv.reportPrefill({ tokens: 100 * blocks, milliseconds: 50 * blocks });
    }
    const { offload, onboard, prefill } = kv.stats().costs;
    expect(onboard!.fixed).toBeCloseTo(3, 0);
    expect(onboard!.perBlock).toBeCloseTo(2, 1);
    expect(offload!.perBlock).toBeCloseTo(4, 1);
    expect(prefill!.perToken).toBeCloseTo(0.5, 1);
    expect(prefill!.perAttended).toBeCloseTo(0, 3);
  });

  it.each([
    ['no blocks', { direction: 'onboard', blocks: 0, milliseconds: 1 }, 'INVALID_OPTION'],
    ['half a block', { direction: 'onboard', blocks: 0.5, milliseconds: 1 }, 'INVALID_OPTION'],
    ['no direction', { blocks: 1, milliseconds: 1 }, 'INVALID_OPTION'],
    ['a strange direction', { direction: 'up', blocks: 1, milliseconds: 1 }, 'INVALID_OPTION'],
    ['no time', { direction: 'onboard', blocks: 1 }, 'INVALID_OPTION'],
    ['a time before', { direction: 'onboard', blocks: 1, milliseconds: -1 }, 'INVALID_OPTION'],
    ['NaN', { direction: 'onboard', blocks: 1, milliseconds: NaN }, 'INVALID_OPTION'],
    ['for ever', { direction: 'onboard', blocks: 1, milliseconds: Infinity }, 'INVALID_OPTION'],
    ['seconds', { direction: 'onboard', blocks: 1, seconds: 1 }, 'UNKNOWN_OPTION'],
    ['nothing', undefined, 'INVALID_OPTION'],
  ] as const)('of transfers refuse %s', (_, report, code) => {
    using kv = smallManager();
    expect(() => kv.reportTransfer(wrong(report))).toThrow(coded(code));
    expect(kv.stats().costs.onboard).toBeUndefined();
  });

  it.each([
    ['no tokens', { tokens: 0, milliseconds: 1 }, 'INVALID_OPTION'],
    ['tokens from before the first', { tokens: 1, past: -1, milliseconds: 1 }, 'INVALID_OPTION'],
    ['a time that is a word', { tokens: 1, milliseconds: '1' }, 'INVALID_OPTION'],
    ['a misspelling', { token: 1, milliseconds: 1 }, 'UNKNOWN_OPTION'],
  ] as const)('of passes refuse %s', (_, report, code) => {
    using kv = smallManager();
    expect(() => kv.reportPrefill(wrong(report))).toThrow(coded(code));
    expect(kv.stats().costs.prefill).toBeUndefined();
  });

  it('come from a device that tells what it has measured', () => {
    using kv = smallManager({ host: { blocks: 8 } });
    const chat = openComputed(kv, ids(16));
    const away = kv.preempt(chat);
    if (!away.ok) throw new Error('the host has room');
    away.beginExecute();
    away.endExecute(true, { offload: 8 });
    const step = mustSchedule(kv, [{ sequence: chat, tokens: [16] }]);
    step.beginExecute();
    step.endExecute(true, { offload: 100, onboard: 4 });
    step.commit();
    expect(kv.stats().costs).toMatchObject({ offload: { perBlock: 2 }, onboard: { perBlock: 1 } });
  });

  it('of a device that failed are not believed, and those that are no times refused', () => {
    using kv = smallManager({ host: { blocks: 8 } });
    const away = kv.preempt(openComputed(kv, ids(16)));
    if (!away.ok) throw new Error('the host has room');
    away.beginExecute();
    expect(() => away.endExecute(true, { offload: -1 })).toThrow(coded('INVALID_OPTION'));
    expect(() => away.endExecute(true, wrong({ upload: 1 }))).toThrow(coded('UNKNOWN_OPTION'));
    away.endExecute(false, { offload: 8 });
    expect(kv.stats().costs.offload).toBeUndefined();
  });

  it('come from a HostCache by themselves', async () => {
    using kv = smallManager({ host: { blocks: 8 } });
    using cache = new HostCache(kv);
    const chat = openComputed(kv, ids(16));
    const away = kv.preempt(chat);
    if (!away.ok) throw new Error('the host has room');
    await cache.execute(away);
    const step = mustSchedule(kv, [{ sequence: chat, tokens: [16] }]);
    await cache.execute(step);
    step.commit();
    const { offload, onboard } = kv.stats().costs;
    expect(offload!.perBlock).toBeGreaterThan(0);
    expect(onboard!.perBlock).toBeGreaterThan(0);
  });
});

describe('the cheapest to preempt', () => {
  it('is the one that costs least, of those that free enough', () => {
    using kv = smallManager({ host: { blocks: 16 } });
    teach(kv, 0.04);
    const large = openComputed(kv, ids(20));
    const small = openComputed(kv, ids(6, 100));
    const middle = openComputed(kv, ids(12, 200));
    const all = [large, small, middle];
    expect(kv.cheapestToPreempt(all)).toMatchObject({ sequence: small, mode: 'swap', blocks: 2 });
    expect(kv.cheapestToPreempt(all, { blocks: 3 })!.sequence).toBe(middle);
    expect(kv.cheapestToPreempt(all, { blocks: 5 })!.sequence).toBe(large);
    expect(kv.cheapestToPreempt([])).toBeUndefined();
    const { mode } = kv.cheapestToPreempt(all)!;
    expect(kv.preempt(small, { mode: 'auto' }).ok).toBe(true);
    expect(small.state).toBe(mode === 'swap' ? 'swapped' : 'dropped');
  });

  it('is dropped where computing is the cheaper way back', () => {
    using kv = smallManager({ host: { blocks: 16 } });
    teach(kv, 400);
    const chat = openComputed(kv, ids(20));
    expect(kv.cheapestToPreempt([chat])).toMatchObject({ mode: 'drop', milliseconds: 20 });
    expect(kv.preempt(chat, { mode: 'auto' })).toMatchObject({ ok: true, blocks: 0 });
    expect(chat.state).toBe('dropped');
  });

  it('is never one that shares all that it has', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(16));
    const twin = chat.fork();
    expect(kv.cheapestToPreempt([chat, twin])).toBeUndefined();
    compute(kv, twin, [7, 7]);
    expect(kv.cheapestToPreempt([chat, twin])).toMatchObject({ sequence: twin, blocks: 1 });
  });

  it('is looked for among sequences of this manager only', () => {
    using kv = smallManager();
    using other = smallManager();
    const stranger = other.open(ids(4));
    expect(() => kv.cheapestToPreempt([stranger])).toThrow(coded('SEQUENCE_FOREIGN'));
    expect(() => kv.cheapestToPreempt(wrong(5))).toThrow(coded('INVALID_ARGUMENT'));
    expect(() => kv.cheapestToPreempt([], { blocks: -1 })).toThrow(coded('INVALID_OPTION'));
    const closed = kv.open(ids(4));
    closed.close();
    expect(kv.cheapestToPreempt([closed])).toBeUndefined();
  });
});

describe('admission', () => {
  it('leaves the low watermark free, and after pressure waits for the high one', () => {
    using kv = smallManager({ watermarks: { low: 0.125, high: 0.5 } });
    const chats = [0, 1, 2].map((i) => openComputed(kv, ids(4 * BLOCK, 100 * i)));
    expect(kv.admission(ids(2 * BLOCK, 900)).admits).toBe(true);
    expect(kv.admission(ids(3 * BLOCK, 900)).admits).toBe(false);
    expect(kv.schedule([{ sequence: chats[0]!, tokens: ids(5 * BLOCK, 500) }]).ok).toBe(false);
    expect(kv.admission(ids(1, 900)).admits).toBe(false);
    chats[2]!.close();
    expect(kv.admission(ids(1, 900)).admits).toBe(true);
    expect(kv.admission(ids(6 * BLOCK, 900)).admits).toBe(true);
  });

  it('refuses watermarks that are no shares, or contradict each other', () => {
    const make = (watermarks: unknown) => () => smallManager({ watermarks: wrong(watermarks) });
    expect(make({ low: -0.1 })).toThrow(coded('INVALID_OPTION'));
    expect(make({ high: 1.5 })).toThrow(coded('INVALID_OPTION'));
    expect(make({ low: 0.5, high: 0.2 })).toThrow(coded('INVALID_OPTION'));
    expect(make({ mid: 0.5 })).toThrow(coded('UNKNOWN_OPTION'));
    expect(make(7)).toThrow(coded('INVALID_OPTION'));
  });
});
