import { describe, expect, it } from 'vitest';
import { coded, compute, ids, mustSchedule, openComputed, smallManager } from './api.helpers.js';

describe('a step of which a part is accepted', () => {
  it('commits that part, and gives the blocks behind it back', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const step = mustSchedule(kv, [{ sequence: chat, tokens: ids(20, 50), guesses: true }]);
    expect(kv.stats().device.held).toBe(7);
    step.accept(chat, 3);
    step.commit();
    expect(chat.length).toBe(9);
    expect(kv.stats()).toMatchObject({ committedTokens: 9, rejectedTokens: 17 });
    expect(kv.stats().device.held).toBe(3);
    expect(kv.lookup([...ids(6), ...ids(20, 50)]).device).toBe(8);
    kv.validate();
  });

  it('finds no guess in memory before it is accepted', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(4));
    const step = mustSchedule(kv, [{ sequence: chat, tokens: ids(9, 50), guesses: true }]);
    const prompt = [...ids(4), ...ids(9, 50)];
    expect(kv.lookup(prompt)).toMatchObject({ device: 4, computing: 0 });
    step.accept(chat, 5);
    expect(kv.lookup(prompt)).toMatchObject({ device: 4, computing: 5 });
    step.commit();
    expect(kv.lookup(prompt)).toMatchObject({ device: 8, computing: 0 });
  });

  it('computes every guess, even those that are found in memory', () => {
    using kv = smallManager();
    const early = kv.open(ids(9));
    openComputed(kv, ids(9)).close();
    const batch = kv.batch();
    batch.addGuesses(early, ids(9));
    const step = kv.schedule(batch);
    expect(step).toMatchObject({ ok: true, attention: { tokens: 9 } });
    if (step.ok) step.abort();
  });

  it('takes the ids of what was accepted, where the entry was scheduled by count', () => {
    using kv = smallManager();
    const [a, b] = [openComputed(kv, ids(4)), openComputed(kv, ids(4, 20))];
    const step = mustSchedule(kv, [
      { sequence: a, tokens: 3 },
      { sequence: b, tokens: 3 },
    ]);
    step.accept(a, 1);
    expect(() => {
      step.commit([7, 8, 9, 10, 11, 12]);
    }).toThrow(coded('IDS_MISSING'));
    step.commit([7, 8, 9, 10]);
    expect([a.length, b.length]).toEqual([5, 7]);
  });

  it('was never there once it is aborted', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const { device } = kv.stats();
    const step = mustSchedule(kv, [{ sequence: chat, tokens: 20 }]);
    step.accept(chat, 7);
    step.abort();
    expect(chat.length).toBe(6);
    expect(kv.stats().device).toEqual(device);
    compute(kv, chat, ids(9, 30));
    kv.validate();
  });

  it('may be scheduled upon before its commit, but not changed under a later step', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const first = mustSchedule(kv, [{ sequence: chat, tokens: 5 }]);
    first.accept(chat, 2);
    const second = mustSchedule(kv, [{ sequence: chat, tokens: 1 }]);
    expect([...second.attention.pastLengths]).toEqual([8]);
    first.commit([1, 2]);
    second.commit([3]);
    expect(chat.length).toBe(9);

    const third = mustSchedule(kv, [{ sequence: chat, tokens: 5 }]);
    const fourth = mustSchedule(kv, [{ sequence: chat, tokens: 1 }]);
    const digest = kv.validate();
    expect(() => {
      third.accept(chat, 4);
    }).toThrow(coded('BUILT_UPON'));
    expect(kv.validate()).toBe(digest);
    fourth.abort();
    third.accept(chat, 4);
    third.commit([4, 5, 6, 7]);
    expect(chat.length).toBe(13);
  });

  it('is accepted once an entry, and not while a device is at it', () => {
    using kv = smallManager();
    const [a, b] = [openComputed(kv, ids(4)), openComputed(kv, ids(4, 20))];
    const step = mustSchedule(kv, [
      { sequence: a, tokens: 3 },
      { sequence: b, tokens: 3 },
    ]);
    step.beginExecute();
    expect(() => {
      step.accept(a, 1);
    }).toThrow(coded('STEP_EXECUTING'));
    step.endExecute(true);
    step.accept(b, 0);
    const digest = kv.validate();
    expect(() => {
      step.accept(b, 0);
    }).toThrow(coded('ACCEPTED_TWICE'));
    expect(kv.validate()).toBe(digest);
    step.commit([1, 2, 3]);
    expect([a.length, b.length]).toEqual([7, 4]);
  });
});
