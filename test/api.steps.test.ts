import { describe, expect, it } from 'vitest';
import type { Step } from '../src/index.js';
import { coded, compute, ids, mustSchedule, openComputed, smallManager } from './api.helpers.js';

/** The slot of a token by the block table, which is what a kernel would make of it. */
function slotOf(
  step: Step,
  row: number,
  position: number,
  cells: number,
  blockSize: number,
): number {
  const { blockTable } = step.attention.groups[0]!;
  return (
    blockTable[row * cells + Math.floor(position / blockSize)]! * blockSize + (position % blockSize)
  );
}

describe('a step', () => {
  it('lays ragged query tokens end to end, each with the slot that the block table gives it', () => {
    using kv = smallManager();
    const a = openComputed(kv, ids(6));
    const b = kv.open(ids(9, 50));
    const step = mustSchedule(kv, [
      { sequence: a, tokens: [6] },
      { sequence: b, tokens: ids(9, 50) },
    ]);
    const { attention } = step;
    expect(attention).toMatchObject({ batch: 2, tokens: 10 });
    expect([...attention.pastLengths]).toEqual([6, 0]);
    expect([...attention.cumulativeLengths]).toEqual([0, 1, 10]);
    expect([...attention.skipped]).toEqual([0, 0]);
    expect(attention.rows).toHaveLength(2);
    const { slotMapping, tableUpdates, blockTable } = attention.groups[0]!;
    expect(blockTable).toHaveLength(8 * 16);
    const [rowA, rowB] = attention.rows;
    const expected = [
      slotOf(step, rowA!, 6, 16, 4),
      ...Array.from({ length: 9 }, (_, i) => slotOf(step, rowB!, i, 16, 4)),
    ];
    expect([...slotMapping]).toEqual(expected);
    expect(tableUpdates.length % 3).toBe(0);
    expect(tableUpdates.subarray(-3)).toEqual(Uint32Array.of(rowB!, 0, 3));
    expect(step.moves).toMatchObject({ offloads: { length: 0 }, onboards: { length: 0 } });
    step.commit();
  });

  it('copies a shared block before it is written', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const branch = chat.fork();
    const step = mustSchedule(kv, [{ sequence: branch, tokens: [70] }]);
    const [group, from, to, tokens] = step.moves.copies;
    expect(step.moves.copies).toHaveLength(4);
    expect([group, tokens]).toEqual([0, 2]);
    const { attention } = step;
    expect(attention.groups[0]!.blockTable[attention.rows[0]! * 16 + 1]).toBe(to);
    expect(from).not.toBe(to);
    step.commit();
    kv.validate();
  });

  it('finds when scheduled what others computed since its sequences were opened', () => {
    using kv = smallManager();
    const late = kv.open(ids(9));
    openComputed(kv, ids(8)).close();
    expect(late.cachedTokens).toBe(0);
    const step = mustSchedule(kv, [{ sequence: late, tokens: ids(9) }]);
    expect([...step.attention.skipped]).toEqual([8]);
    expect(step.attention.tokens).toBe(1);
    expect([...step.attention.pastLengths]).toEqual([8]);
    step.commit();
    expect(late.length).toBe(9);
    kv.validate();
  });

  it('that is aborted was never there', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const digest = kv.validate();
    mustSchedule(kv, [{ sequence: chat, tokens: ids(20) }]).abort();
    expect(kv.validate()).toBe(digest);
    expect(chat.length).toBe(6);
  });

  it('that does not fit is a result, and changes nothing', () => {
    using kv = smallManager({ device: { blocks: 4 } });
    const chat = openComputed(kv, ids(9));
    const digest = kv.validate();
    const result = kv.schedule([{ sequence: chat, tokens: 20 }]);
    expect(result).toMatchObject({ ok: false, free: 1, inFlight: 0 });
    if (!result.ok) expect(result.needed).toBeGreaterThan(result.free);
    expect(kv.validate()).toBe(digest);
    expect(kv.stats().outOfBlocks).toBe(1);
  });

  it('takes counts, and the ids at commit', () => {
    using kv = smallManager();
    const a = kv.open(ids(5));
    const b = kv.open(ids(4, 50));
    const step = mustSchedule(kv, [
      { sequence: a, tokens: 5 },
      { sequence: b, tokens: ids(4, 50) },
    ]);
    step.commit(ids(5));
    a.close();
    b.close();
    expect(kv.lookup(ids(5)).device).toBe(4);
    expect(kv.lookup(ids(5, 50)).device).toBe(4);
    kv.validate();
  });

  it('may follow another that is still open, with what comes next', () => {
    using kv = smallManager();
    const chat = kv.open(ids(6));
    const first = mustSchedule(kv, [{ sequence: chat, tokens: ids(6) }]);
    const second = mustSchedule(kv, [{ sequence: chat, tokens: 1 }]);
    expect([...second.attention.pastLengths]).toEqual([6]);
    expect(first.attention.tokens).toBe(6);
    first.beginExecute();
    second.beginExecute();
    first.endExecute(true);
    second.endExecute(true);
    first.commit();
    expect(chat.length).toBe(6);
    second.commit([6]);
    expect(chat.length).toBe(7);
    kv.validate();
  });

  it('takes those with it that build on it when it is aborted', () => {
    using kv = smallManager();
    const chat = kv.open(ids(6));
    const first = mustSchedule(kv, [{ sequence: chat, tokens: ids(6) }]);
    const second = mustSchedule(kv, [{ sequence: chat, tokens: 1 }]);
    first.abort();
    expect(() => second.attention).toThrow(coded('STEP_CLOSED'));
    expect(() => second.commit([6])).toThrow(coded('STEP_CLOSED'));
    expect(chat.length).toBe(0);
    kv.validate();
  });

  it('from an array is never used again, however long it is kept', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const kept = mustSchedule(kv, [{ sequence: chat, tokens: [6] }]);
    kept.commit();
    for (let i = 7; i < 30; i++) {
      const step = mustSchedule(kv, [{ sequence: chat, tokens: [i] }]);
      expect(step).not.toBe(kept);
      expect(() => kept.attention).toThrow(coded('STEP_CLOSED'));
      expect(() => kept.commit()).toThrow(coded('STEP_CLOSED'));
      expect(() => kept.abort()).toThrow(coded('STEP_CLOSED'));
      step.commit();
    }
    expect(chat.length).toBe(30);
  });
});

describe('a batch', () => {
  it('holds what was added until it is cleared', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const batch = kv.batch();
    batch.addToken(chat, 6);
    expect(batch).toMatchObject({ sequences: 1, tokens: 1 });
    batch.clear();
    expect(batch).toMatchObject({ sequences: 0, tokens: 0 });
    batch.add(chat, ids(20, 6));
    expect(batch).toMatchObject({ sequences: 1, tokens: 20 });
    const step = kv.schedule(batch);
    if (!step.ok) throw new Error('it fits');
    expect(step.attention.tokens).toBe(20);
    step.commit();
    chat.close();
    expect(kv.lookup(ids(30)).device).toBe(24);
  });

  it('is scheduled again as it is', () => {
    using kv = smallManager();
    const chat = openComputed(kv, ids(6));
    const batch = kv.batch();
    batch.add(chat, 1);
    for (let i = 6; i < 12; i++) {
      const step = kv.schedule(batch);
      if (step.ok) step.commit([i]);
    }
    expect(chat.length).toBe(12);
    chat.close();
    expect(kv.lookup(ids(13)).device).toBe(12);
  });

  it('mixes ids and counts', () => {
    using kv = smallManager();
    const chats = [kv.open([0]), kv.open([1]), kv.open([2])] as const;
    const batch = kv.batch();
    batch.add(chats[0], ids(4));
    batch.add(chats[1], 4);
    batch.add(chats[2], [20, 21, 22, 23]);
    const step = kv.schedule(batch);
    if (step.ok) step.commit([10, 11, 12, 13]);
    for (const chat of chats) chat.close();
    for (const first of [0, 10, 20]) expect(kv.lookup(ids(5, first)).device).toBe(4);
    kv.validate();
  });

  it('may be one of several, filled in turns', () => {
    using kv = smallManager();
    const a = openComputed(kv, ids(4));
    const b = openComputed(kv, ids(4, 50));
    const first = kv.batch();
    const second = kv.batch();
    first.addToken(a, 4);
    second.add(b, ids(3, 54));
    mustSchedule(kv, [{ sequence: kv.open([9]), tokens: [9] }]).abort();
    first.addToken(b, 54);
    const step = kv.schedule(first);
    if (!step.ok) throw new Error('it fits');
    expect(step.attention.tokens).toBe(2);
    step.abort();
    const other = kv.schedule(second);
    if (!other.ok) throw new Error('it fits');
    expect(other.attention.tokens).toBe(3);
    other.commit();
    compute(kv, b, [57]);
    b.close();
    expect(kv.lookup(ids(9, 50)).device).toBe(8);
    expect(first).toMatchObject({ sequences: 2, tokens: 2 });
    kv.validate();
  });

  it('lends its steps in turns, so that one that just ended stays closed for a while', () => {
    using kv = smallManager({ maxOpenSteps: 2 });
    const chat = openComputed(kv, ids(6));
    const batch = kv.batch();
    batch.add(chat, 1);
    const steps = Array.from({ length: 4 }, (_, i) => {
      const step = kv.schedule(batch);
      if (!step.ok) throw new Error('it fits');
      step.commit([i]);
      return step;
    });
    expect(new Set(steps).size).toBe(4);
    for (const step of steps) expect(() => step.commit([1])).toThrow(coded('STEP_CLOSED'));
    expect(kv.schedule(batch)).toBe(steps[0]);
  });

  it('never lends a step that is open', () => {
    using kv = smallManager({ maxOpenSteps: 4 });
    const chats = [openComputed(kv, ids(4)), openComputed(kv, ids(4, 50))] as const;
    const batch = kv.batch();
    const lend = (chat: 0 | 1) => {
      batch.clear();
      batch.add(chats[chat], 1);
      const step = kv.schedule(batch);
      if (!step.ok) throw new Error('it fits');
      return step;
    };
    const kept = lend(0);
    for (let i = 0; i < 20; i++) {
      const step = lend(1);
      expect(step).not.toBe(kept);
      step.abort();
    }
    expect(kept.attention.batch).toBe(1);
    kept.commit([5]);
  });
});
