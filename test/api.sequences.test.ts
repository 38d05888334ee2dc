import { describe, expect, it } from 'vitest';
import {
  BLOCK,
  coded,
  compute,
  ids,
  mustSchedule,
  openComputed,
  smallManager,
} from './api.helpers.js';

describe('a sequence', () => {
  it('is empty and active when it is opened, and grows at commit', () => {
    using kv = smallManager();
    const chat = kv.open(ids(6));
    expect(chat).toMatchObject({ length: 0, cachedTokens: 0, state: 'active' });
    const step = mustSchedule(kv, [{ sequence: chat, tokens: ids(6) }]);
    expect(chat.length).toBe(0);
    step.commit();
    expect(chat.length).toBe(6);
    kv.validate();
  });

  it('takes its prompt as an array of numbers too, and from shared memory', () => {
    using kv = smallManager();
    openComputed(kv, ids(9)).close();
    expect(kv.open([...ids(9)]).cachedTokens).toBe(8);
    const shared = new Uint32Array(new SharedArrayBuffer(36));
    shared.set(ids(9));
    expect(kv.open(shared).cachedTokens).toBe(8);
    kv.validate();
  });

  it('finds what a closed one computed, but for the last token', () => {
    using kv = smallManager();
    openComputed(kv, ids(8)).close();
    expect(kv.lookup(ids(8))).toMatchObject({ device: 7, host: 0, computing: 0 });
    const again = kv.open(ids(8));
    expect(again.cachedTokens).toBe(7);
    expect(again.length).toBe(7);
    expect(kv.stats()).toMatchObject({ opens: 2, promptTokens: 16, hitTokens: 7, sequences: 1 });
  });

  it('shares no prefix across namespaces, of which the empty one is the default', () => {
    using kv = smallManager();
    openComputed(kv, ids(8), 'tenant-7').close();
    expect(kv.open(ids(9)).cachedTokens).toBe(0);
    expect(kv.open(ids(9), { namespace: 'tenant-8' }).cachedTokens).toBe(0);
    expect(kv.open(ids(9), { namespace: 'tenant-7' }).cachedTokens).toBe(8);
    openComputed(kv, ids(8, 100)).close();
    expect(kv.open(ids(9, 100), { namespace: '' }).cachedTokens).toBe(8);
    kv.validate();
  });

  it('keeps namespaces apart whatever is in their names', () => {
    using kv = smallManager({ device: { blocks: 64 }, maxSequences: 32 });
    const names = ['a', 'a\0', 'a\0b', 'ä', 'a\u0308', '🦆', ' ', 'x'.repeat(1024)];
    for (const [i, name] of names.entries()) openComputed(kv, ids(4, i * 10), name).close();
    for (const [i, namespace] of names.entries()) {
      for (const j of names.keys()) {
        expect(kv.lookup(ids(5, j * 10), { namespace }).device).toBe(i === j ? 4 : 0);
      }
    }
  });

  it('forks into one that shares its blocks and goes its own way', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const before = kv.stats().device.held;
    const branch = chat.fork();
    expect(branch.length).toBe(6);
    expect(kv.stats().device.held).toBe(before);
    compute(kv, branch, [70]);
    compute(kv, chat, [80]);
    expect(kv.stats()).toMatchObject({ forks: 1, copiesOnWrite: 1 });
    expect(chat.fork(3).length).toBe(3);
    kv.validate();
  });

  it('forks at what is committed while a step is open', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const step = mustSchedule(kv, [{ sequence: chat, tokens: [6] }]);
    expect(chat.fork().length).toBe(6);
    step.commit();
    expect(chat.length).toBe(7);
    kv.validate();
  });

  it('gives back its tail', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(11));
    chat.truncate(5);
    expect(chat.length).toBe(5);
    compute(kv, chat, [99]);
    expect(chat.length).toBe(6);
    chat.truncate(0);
    expect(chat.length).toBe(0);
    kv.validate();
  });

  it('that is closed says so and refuses the rest', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    chat.close();
    expect(chat.state).toBe('closed');
    const next = kv.open(ids(3));
    expect(next.state).toBe('active');
    expect(chat.state).toBe('closed');
    expect(() => chat.length).toThrow(coded('SEQUENCE_CLOSED'));
    expect(() => chat.cachedTokens).toThrow(coded('SEQUENCE_CLOSED'));
  });

  it('that is closed while a step holds it is gone at once, and its blocks when the step ends', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const step = mustSchedule(kv, [{ sequence: chat, tokens: [6] }]);
    chat.close();
    expect(chat.state).toBe('closed');
    expect(() => chat.fork()).toThrow(coded('SEQUENCE_CLOSED'));
    expect(kv.stats().sequences).toBe(1);
    step.commit();
    expect(kv.stats()).toMatchObject({ sequences: 0, device: { held: 0, cached: 1 } });
    kv.validate();
  });

  it('is closed at the end of a `using` block, once', () => {
    using kv = smallManager();
    {
      using chat = kv.open(ids(3));
      expect(chat.state).toBe('active');
    }
    expect(kv.stats().sequences).toBe(0);
    {
      using chat = kv.open(ids(3));
      chat.close();
    }
    expect(kv.stats().sequences).toBe(0);
  });

  it('that is dropped resumes with what is still there', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(10));
    const transfer = kv.preempt(chat, { mode: 'drop' });
    expect(transfer).toMatchObject({ ok: true, blocks: 0 });
    expect(chat).toMatchObject({ state: 'dropped', length: 0 });
    expect(() => kv.schedule([{ sequence: chat, tokens: 1 }])).toThrow(coded('SEQUENCE_DROPPED'));
    expect(chat.resume(ids(10))).toBe(8);
    expect(chat).toMatchObject({ state: 'active', cachedTokens: 8 });
    compute(kv, chat, ids(2, 8));
    expect(chat.length).toBe(10);
    expect(kv.stats()).toMatchObject({ preemptions: 1, drops: 1 });
    kv.validate();
  });

  it('that is swapped out comes back when it is scheduled', () => {
    using kv = smallManager({ host: { blocks: 8 } });
    const chat = openComputed(kv, ids(10));
    const transfer = kv.preempt(chat);
    if (!transfer.ok) throw new Error('the host has room');
    expect(transfer.blocks).toBe(3);
    expect(transfer.moves.offloads).toHaveLength(9);
    expect(transfer.moves.onboards).toHaveLength(0);
    transfer.beginExecute();
    transfer.endExecute(true);
    expect(() => transfer.endExecute(true)).toThrow(coded('TRANSFER_CLOSED'));
    expect(chat.state).toBe('swapped');
    expect(kv.stats()).toMatchObject({
      swappedOutBlocks: 3,
      device: { held: 0 },
      host: { held: 3 },
    });

    const step = mustSchedule(kv, [{ sequence: chat, tokens: [10] }]);
    expect(step.moves.onboards).toHaveLength(9);
    step.commit();
    expect(chat).toMatchObject({ state: 'active', length: 11 });
    expect(kv.stats()).toMatchObject({ swappedInBlocks: 3, host: { held: 0 } });
    kv.validate();
  });

  it('cannot be swapped out to a host without room, which is a result', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(10));
    const digest = kv.validate();
    expect(kv.preempt(chat)).toMatchObject({ ok: false });
    expect(kv.validate()).toBe(digest);
    expect(chat.state).toBe('active');
  });
});

describe('what a manager tells', () => {
  it('includes what an open step is computing', () => {
    using kv = smallManager();
    const chat = kv.open(ids(8));
    const step = mustSchedule(kv, [{ sequence: chat, tokens: ids(8) }]);
    expect(kv.lookup(ids(12))).toMatchObject({ device: 0, host: 0, computing: 8 });
    step.commit();
    expect(kv.lookup(ids(12))).toMatchObject({ device: 8, host: 0, computing: 0 });
  });

  it('includes how many tokens still fit, with and without eviction', () => {
    using kv = smallManager();
    expect(kv.admission()).toMatchObject({ now: 64, afterEviction: 64 });
    openComputed(kv, ids(8)).close();
    expect(kv.admission()).toMatchObject({ now: 56, afterEviction: 64 });
    expect(kv.admission(ids(9))).toMatchObject({ now: 56, afterEviction: 56 });
  });

  it('adds up: free, cached and held blocks are all there are', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(10));
    openComputed(kv, ids(9, 50)).close();
    const { device } = kv.stats();
    expect(device.total).toBe(16);
    expect(device.free + device.cached + device.held).toBe(device.total);
    expect(device.held).toBe(3);
    chat.close();
  });

  it('forgets one namespace, or all', () => {
    using kv = smallManager();
    openComputed(kv, ids(BLOCK)).close();
    openComputed(kv, ids(BLOCK), 'tenant').close();
    kv.clear({ namespace: '' });
    expect(kv.lookup(ids(9)).device).toBe(0);
    expect(kv.lookup(ids(9), { namespace: 'tenant' }).device).toBe(4);
    kv.clear();
    expect(kv.lookup(ids(9), { namespace: 'tenant' }).device).toBe(0);
    expect(kv.stats().device).toMatchObject({ free: 16, cached: 0 });
    kv.validate();
  });

  it('changes nothing by being asked', () => {
    using kv = smallManager();
    openComputed(kv, ids(10)).close();
    const digest = kv.validate();
    kv.lookup(ids(10));
    kv.admission(ids(10));
    kv.stats();
    expect(kv.validate()).toBe(digest);
  });
});
