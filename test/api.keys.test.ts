/** Extra keys on ranges of tokens: what they keep apart, and what is refused. Blocks have 4 tokens. */
import { describe, expect, it } from 'vitest';
import type { ErrorCode, KeyRange, PromptOptions } from '../src/index.js';
import { coded, compute, ids, mustSchedule, smallManager } from './api.helpers.js';
import { checkMisuse, setScene, wrong, type Row } from './api.scene.js';

const CAT: readonly KeyRange[] = [{ from: 5, to: 10, key: 'cat' }];
const DOG: readonly KeyRange[] = [{ from: 5, to: 10, key: 'dog' }];

describe('prompts with extra keys', () => {
  it('share what is under the same keys, and up to the first token whose key differs', () => {
    using kv = smallManager();
    const chat = kv.open(ids(16), { keys: CAT });
    compute(kv, chat, ids(16));
    expect(kv.open(ids(17), { keys: CAT }).cachedTokens).toBe(16);
    expect(kv.open(ids(17), { keys: DOG }).cachedTokens).toBe(5);
    expect(kv.open(ids(17)).cachedTokens).toBe(5);
    kv.validate();
  });

  it('share blocks before a range with prompts without keys', () => {
    using kv = smallManager();
    compute(kv, kv.open(ids(12)), ids(12));
    expect(kv.lookup(ids(17), { keys: [{ from: 8, key: 'adapter' }] }).device).toBe(8);
    expect(kv.lookup(ids(17), { keys: [{ from: 0, key: 'adapter' }] }).device).toBe(0);
  });

  it('keep them for the tokens that are generated later', () => {
    using kv = smallManager();
    const keys = [{ from: 2, key: 'adapter' }];
    const chat = kv.open(ids(3), { keys });
    compute(kv, chat, ids(3));
    compute(kv, chat, ids(9, 3));
    expect(kv.lookup(ids(13), { keys }).device).toBe(12);
    expect(kv.lookup(ids(13), { keys: [{ from: 2, to: 9, key: 'adapter' }] }).device).toBe(9);
  });

  it('give them to their forks, and keep them when they are truncated', () => {
    using kv = smallManager();
    const keys = [{ from: 2, key: 'adapter' }];
    const chat = kv.open(ids(6), { keys });
    compute(kv, chat, ids(6));
    const fork = chat.fork();
    chat.close();
    fork.truncate(3);
    compute(kv, fork, ids(5, 30));
    fork.close();
    const prompt = [0, 1, 2, 30, 31, 32, 33, 34, 99];
    expect(kv.lookup(prompt, { keys }).device).toBe(8);
    expect(kv.lookup(prompt).device).toBe(2);
  });

  it('resume under their keys, unless others are given', () => {
    using kv = smallManager();
    const chat = kv.open(ids(12), { keys: CAT });
    compute(kv, chat, ids(12));
    kv.preempt(chat, { mode: 'drop' });
    expect(chat.resume(ids(13))).toBe(12);
    kv.preempt(chat, { mode: 'drop' });
    expect(chat.resume(ids(13), {})).toBe(12);
    kv.preempt(chat, { mode: 'drop' });
    expect(chat.resume(ids(13), { keys: DOG })).toBe(5);
    kv.preempt(chat, { mode: 'drop' });
    expect(chat.resume(ids(13), { keys: [] })).toBe(5);
    kv.validate();
  });

  it('are apart in every namespace', () => {
    using kv = smallManager();
    compute(kv, kv.open(ids(8), { keys: CAT, namespace: 'a' }), ids(8));
    expect(kv.lookup(ids(9), { keys: CAT, namespace: 'a' }).device).toBe(8);
    expect(kv.lookup(ids(9), { keys: CAT, namespace: 'b' }).device).toBe(0);
    expect(kv.lookup(ids(9), { keys: CAT }).device).toBe(0);
  });

  it('say what else is asked of a prompt that is cached', () => {
    using kv = smallManager({ host: { blocks: 8 } });
    const chat = kv.open(ids(12), { keys: CAT });
    compute(kv, chat, ids(12));
    chat.close();
    const where = { keys: CAT };
    expect(kv.retain(ids(12), { priority: 5 }, where)).toBe(12);
    expect(kv.retain(ids(12), { priority: 5 }, { keys: DOG })).toBe(4);
    expect(kv.pin(ids(12), where).tokens).toBe(11);
    expect(kv.pin(ids(12), { keys: DOG }).tokens).toBe(5);
    expect(kv.demote(ids(12), { keys: DOG }).blocks).toBe(0);
    kv.expectReuse(ids(12), 'never', where);
    expect(kv.admission(ids(16), where).now).toBeGreaterThan(0);
    kv.validate();
  });

  it('are compared by their bytes', () => {
    using kv = smallManager();
    for (const key of ['a', 'a\0', 'ä', 'x'.repeat(1024), '😀']) {
      const keys = [{ from: 0, key }];
      expect(kv.lookup(ids(5), { keys }).device).toBe(0);
      const chat = kv.open(ids(4), { keys });
      compute(kv, chat, ids(4));
      chat.close();
      expect(kv.lookup(ids(5), { keys }).device).toBe(4);
    }
  });

  it('may have 256 ranges, and none', () => {
    using kv = smallManager({ maxSequenceTokens: 1024 });
    const keys = Array.from({ length: 256 }, (_, i) => ({
      from: 3 * i,
      to: 3 * i + 2,
      key: `${i}`,
    }));
    compute(kv, kv.open(ids(16), { keys }), ids(16));
    expect(kv.lookup(ids(17), { keys }).device).toBe(16);
    expect(kv.lookup(ids(17), { keys: [] }).device).toBe(0);
    kv.validate();
  });

  it('compute one block each where two compute the same at once', () => {
    using kv = smallManager();
    const entries = [CAT, CAT, DOG].map((keys) => ({
      sequence: kv.open(ids(8), { keys }),
      tokens: ids(8),
    }));
    mustSchedule(kv, entries).commit();
    expect(kv.stats()).toMatchObject({ duplicates: 3, device: { held: 3 } });
    kv.validate();
  });
});

describe('opening under', () => {
  setScene();
  const bad: readonly (readonly [string, ErrorCode, unknown])[] = [
    ['a string for keys', 'INVALID_KEYS', 'cat'],
    ['one range for keys', 'INVALID_KEYS', { from: 0, key: 'cat' }],
    ['null for keys', 'INVALID_KEYS', null],
    ['a string for a range', 'INVALID_OPTION', ['cat']],
    ['a hole among ranges', 'INVALID_OPTION', Array(1)],
    ['a misspelled range', 'UNKNOWN_OPTION', [{ form: 0, key: 'cat' }]],
    ['a range without a begin', 'INVALID_OPTION', [{ key: 'cat' }]],
    ['a range from −1', 'INVALID_OPTION', [{ from: -1, key: 'cat' }]],
    ['a range from half a token', 'INVALID_OPTION', [{ from: 0.5, key: 'cat' }]],
    ['a range to a string', 'INVALID_OPTION', [{ from: 0, to: '4', key: 'cat' }]],
    ['a range past everything', 'INVALID_OPTION', [{ from: 0, to: 2 ** 32, key: 'cat' }]],
    ['an empty range', 'INVALID_KEYS', [{ from: 4, to: 4, key: 'cat' }]],
    ['a range backwards', 'INVALID_KEYS', [{ from: 4, to: 2, key: 'cat' }]],
    ['ranges that overlap', 'INVALID_KEYS', [CAT[0], { from: 9, key: 'dog' }]],
    ['ranges out of order', 'INVALID_KEYS', [CAT[0], { from: 0, to: 4, key: 'dog' }]],
    [
      'a range after one without end',
      'INVALID_KEYS',
      [
        { from: 0, key: 'a' },
        { from: 9, key: 'b' },
      ],
    ],
    ['a range without a key', 'INVALID_KEYS', [{ from: 0 }]],
    ['a number as a key', 'INVALID_KEYS', [{ from: 0, key: 7 }]],
    ['an empty key', 'INVALID_KEYS', [{ from: 0, key: '' }]],
    ['a key of 1025 bytes', 'INVALID_KEYS', [{ from: 0, key: 'x'.repeat(1025) }]],
    ['a key of 1026 bytes', 'INVALID_KEYS', [{ from: 0, key: 'ä'.repeat(513) }]],
    ['a lone surrogate as a key', 'INVALID_KEYS', [{ from: 0, key: 'a\ud800' }]],
    ['a replacement character as a key', 'INVALID_KEYS', [{ from: 0, key: '\ufffd' }]],
    [
      '257 ranges',
      'INVALID_KEYS',
      Array.from({ length: 257 }, (_, i) => ({ from: i, to: i + 1, key: 'x' })),
    ],
  ];
  checkMisuse(
    bad.flatMap(([what, code, keys]): Row[] => {
      const options = wrong<PromptOptions>({ keys });
      return [
        [what, code, ({ kv }) => kv.open([1], options)],
        [`${what}, asked for,`, code, ({ kv }) => kv.lookup([1], options)],
        [`${what}, what fits,`, code, ({ kv }) => kv.admission([1], options)],
        [`${what}, resumed,`, code, ({ dropped }) => dropped.resume([1], options)],
        [`${what}, demoted,`, code, ({ kv }) => kv.demote([1], options)],
        [`${what}, prefetched,`, code, ({ kv }) => kv.prefetch([1], options)],
      ];
    }),
  );

  it('a namespace, a dropped sequence cannot resume', () => {
    using kv = smallManager();
    const chat = kv.open(ids(4));
    kv.preempt(chat, { mode: 'drop' });
    expect(() => chat.resume(ids(4), wrong({ namespace: 'b' }))).toThrow(coded('UNKNOWN_OPTION'));
  });
});
