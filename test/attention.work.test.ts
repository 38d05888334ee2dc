/** Plans of work: whatever the batch, each query token sees each of its keys once, and nothing else is read. */
import { describe, expect, it } from 'vitest';
import { isVisible, readReach, type Reach } from '../src/attention/visibility.js';
import {
  HEADER_VECTORS,
  ITEM_VECTORS,
  NO_PARTIAL,
  VECTOR_WORDS,
  Work,
  type StepLists,
  type WorkSizes,
} from '../src/attention/work.js';
import { Random, replay } from './device.random.js';

const SIZES: WorkSizes = {
  queryHeads: 4,
  tileTokens: 8,
  workgroupsPerItem: 2,
  wantedWorkgroups: 64,
  splitKeys: 32,
  partialRows: 4096,
};

interface Item {
  row: number;
  token: number;
  tokens: number;
  position: number;
  /** Positions, in the order in which they are counted. */
  keys: number[];
  partial: number;
}

function itemsOf({ words, singles, tiles }: Work): Item[] {
  const sinks = words[1]!;
  return Array.from({ length: singles + tiles }, (_, i) => {
    const at = (HEADER_VECTORS + i * ITEM_VECTORS) * VECTOR_WORDS;
    const [row, token, tokens, position, begin, end, gap, partial] = words.subarray(at, at + 8);
    const keys = Array.from({ length: end! - begin! }, (__, j) => begin! + j).map((key) =>
      key < sinks ? key : key + gap!,
    );
    return {
      row: row!,
      token: token!,
      tokens: tokens!,
      position: position!,
      keys,
      partial: partial!,
    };
  });
}

/** By token of the step: the partial rows of its first head. */
function reductionsOf({ words, singles, tiles, reductions }: Work): Map<number, number[]> {
  const first = (HEADER_VECTORS + (singles + tiles) * ITEM_VECTORS) * VECTOR_WORDS;
  const all = Array.from({ length: reductions }, (_, i): [number, number[]] => {
    const at = first + i * VECTOR_WORDS;
    const [token, row, stride, parts] = words.subarray(at, at + 4);
    return [token!, Array.from({ length: parts! }, (__, part) => row! + part * stride!)];
  });
  return new Map(all);
}

function listsOf(sequences: readonly (readonly [past: number, queries: number])[]): StepLists {
  const cumulativeLengths = [0];
  for (const [, queries] of sequences) cumulativeLengths.push(cumulativeLengths.at(-1)! + queries);
  return {
    batch: sequences.length,
    rows: sequences.map((_, i) => 10 + i),
    pastLengths: sequences.map(([past]) => past),
    cumulativeLengths,
  };
}

function planned(lists: StepLists, reach?: Reach, sizes: WorkSizes = SIZES): Work {
  const work = new Work(readReach('the reach', reach), sizes);
  work.plan(lists);
  return work;
}

/** By query token of the step: the positions that items give it to see. */
function seenBy(items: readonly Item[], reach: Reach | undefined, tokens: number): number[][] {
  const rules = readReach('the reach', reach);
  const seen = Array.from({ length: tokens }, (): number[] => []);
  for (const { token, tokens: count, position, keys } of items) {
    for (let t = 0; t < count; t++) {
      const visible = keys.filter((key) => isVisible(rules, position + t, key));
      seen[token + t]!.push(...visible);
    }
  }
  return seen.map((keys) => keys.sort((a, b) => a - b));
}

const REACHES: readonly (Reach | undefined)[] = [
  undefined,
  { window: 50 },
  { window: 1 },
  { window: 70, sinks: 5 },
  { chunk: 64 },
  { chunk: 40, sinks: 3 },
];

describe(`plans of work (${replay})`, () => {
  it.each(REACHES)('show each query each of its keys once, and read no other: %o', (reach) => {
    const random = new Random(`work ${JSON.stringify(reach)}`);
    for (let round = 0; round < 20; round++) {
      const sequences = Array.from({ length: random.integer(1, 6) }, () => {
        return [random.integer(0, 400), random.pick([0, 1, 1, 2, 30])] as const;
      });
      const lists = listsOf(sequences);
      const tokens = lists.cumulativeLengths[lists.batch]!;
      const items = itemsOf(planned(lists, reach));
      const rules = readReach('the reach', reach);
      const expected = sequences.flatMap(([past, queries]) =>
        Array.from({ length: queries }, (_, t) =>
          Array.from({ length: past + t + 1 }, (__, key) => key).filter((key) =>
            isVisible(rules, past + t, key),
          ),
        ),
      );
      expect(seenBy(items, reach, tokens)).toEqual(expected);
      for (const { position, tokens: count, keys } of items) {
        const isRead = (key: number): boolean =>
          Array.from({ length: count }).some((_, t) => isVisible(rules, position + t, key));
        expect(keys.filter((key) => !isRead(key))).toEqual([]);
      }
    }
  });

  it('put every part of what they split into a place of its own, and together again', () => {
    const work = planned(
      listsOf([
        [1000, 1],
        [10, 1],
        [500, 20],
      ]),
    );
    const items = itemsOf(work);
    const reductions = reductionsOf(work);
    const used = new Set<number>();
    for (const { token, tokens, partial } of items) {
      if (partial === NO_PARTIAL) continue;
      for (let t = 0; t < tokens; t++) {
        expect(reductions.get(token + t)).toContain(partial + t * SIZES.queryHeads);
        for (let head = 0; head < SIZES.queryHeads; head++) {
          used.add(partial + t * SIZES.queryHeads + head);
        }
      }
    }
    const parts = [...reductions.values()].reduce((sum, rows) => sum + rows.length, 0);
    expect(used.size).toBe(parts * SIZES.queryHeads);
    const whole = items.filter(({ partial }) => partial === NO_PARTIAL);
    expect(whole.map(({ row }) => row)).toEqual([11]);
    expect([...reductions.keys()].sort((a, b) => a - b)).toEqual([
      0,
      ...Array.from({ length: 20 }, (_, t) => 2 + t),
    ]);
  });

  it('split less where the batch keeps the device busy, or where there is no room for parts', () => {
    const one = planned(listsOf([[4095, 1]]));
    const many = planned(listsOf(Array.from({ length: 64 }, () => [4095, 1] as const)));
    expect(one.singles).toBe(32);
    expect(many.singles).toBe(64);
    expect(many.reductions).toBe(0);
    const tight = planned(listsOf([[4095, 1]]), undefined, { ...SIZES, partialRows: 20 });
    expect(tight.singles).toBe(4);
  });

  it('list single tokens first', () => {
    const work = planned(
      listsOf([
        [5, 4],
        [9, 1],
        [0, 17],
        [3, 1],
      ]),
    );
    expect(itemsOf(work).map(({ tokens }) => tokens)).toEqual([1, 1, 1, 4, 8, 8]);
    expect([work.singles, work.tiles]).toEqual([3, 3]);
  });

  it('grow for a large step, and forget the step before', () => {
    const work = planned(listsOf(Array.from({ length: 3000 }, () => [3, 1] as const)));
    expect(work.singles).toBe(3000);
    work.plan(listsOf([[3, 1]]));
    expect([work.singles, work.tiles, work.reductions]).toEqual([1, 0, 0]);
    expect(work.length).toBe((HEADER_VECTORS + ITEM_VECTORS) * VECTOR_WORDS);
  });
});
