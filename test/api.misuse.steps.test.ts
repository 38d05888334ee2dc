/** The misuse of batches and steps; see `api.misuse.test.ts`. */
import { describe, expect, it } from 'vitest';
import type { Sequence } from '../src/index.js';
import { coded, ids, mustSchedule } from './api.helpers.js';
import { BAD_TOKENS, checkMisuse, scene, setScene, wrong, type Row } from './api.scene.js';

setScene();

describe('scheduling', () => {
  checkMisuse([
    ...BAD_TOKENS.map(([what, code, tokens]): Row => [
      what,
      code,
      ({ kv, chat }) => kv.schedule([{ sequence: chat, tokens: wrong(tokens) }]),
    ]),
    ['an empty array', 'EMPTY_BATCH', ({ kv }) => kv.schedule([])],
    ['an empty batch', 'EMPTY_BATCH', ({ kv, batch }) => kv.schedule(batch)],
    ['nothing', 'BATCH_FOREIGN', ({ kv }) => kv.schedule(wrong(undefined))],
    ['an object', 'BATCH_FOREIGN', ({ kv }) => kv.schedule(wrong({ length: 0 }))],
    [
      'a batch of another manager',
      'BATCH_FOREIGN',
      ({ kv, foreignBatch }) => kv.schedule(foreignBatch),
    ],
    ['null as an entry', 'INVALID_ARGUMENT', ({ kv }) => kv.schedule([wrong(null)])],
    ['a hole as an entry', 'INVALID_ARGUMENT', ({ kv }) => kv.schedule(Array(1))],
    ['no sequence', 'SEQUENCE_FOREIGN', ({ kv }) => kv.schedule([wrong({ tokens: 1 })])],
    [
      'an imitated sequence',
      'SEQUENCE_FOREIGN',
      ({ kv, chat }) => kv.schedule([{ sequence: Object.create(chat) as Sequence, tokens: 1 }]),
    ],
    [
      'a sequence of another manager',
      'SEQUENCE_FOREIGN',
      ({ kv, foreign }) => kv.schedule([{ sequence: foreign, tokens: 1 }]),
    ],
    [
      'a closed sequence',
      'SEQUENCE_CLOSED',
      ({ kv, chat, closed }) =>
        kv.schedule([
          { sequence: chat, tokens: 1 },
          { sequence: closed, tokens: 1 },
        ]),
    ],
    [
      'a dropped sequence',
      'SEQUENCE_DROPPED',
      ({ kv, dropped }) => kv.schedule([{ sequence: dropped, tokens: 1 }]),
    ],
    [
      'a sequence twice',
      'DUPLICATE_IN_BATCH',
      ({ kv, chat }) =>
        kv.schedule([
          { sequence: chat, tokens: [1] },
          { sequence: chat, tokens: [2] },
        ]),
    ],
    [
      'a count of 0',
      'EMPTY_TOKENS',
      ({ kv, chat }) => kv.schedule([{ sequence: chat, tokens: 0 }]),
    ],
    ['a count of −1', 'INVALID_ARGUMENT', ({ batch, chat }) => batch.add(chat, -1)],
    ['a count of 1.5', 'INVALID_ARGUMENT', ({ batch, chat }) => batch.add(chat, 1.5)],
    ['a count of NaN', 'INVALID_ARGUMENT', ({ batch, chat }) => batch.add(chat, NaN)],
    ['a count of 2^31', 'INVALID_ARGUMENT', ({ batch, chat }) => batch.add(chat, 2 ** 31)],
    ['a count of 65', 'BATCH_TOO_LARGE', ({ batch, chat }) => batch.add(chat, 65)],
    ['65 tokens', 'BATCH_TOO_LARGE', ({ batch, chat }) => batch.add(chat, ids(65))],
    [
      'more sequences than a batch may have',
      'BATCH_TOO_LARGE',
      ({ batch, chat }) => {
        for (let i = 0; i < 9; i++) batch.addToken(chat, i);
      },
    ],
    [
      'more tokens than a sequence may have',
      'SEQUENCE_TOO_LONG',
      ({ kv, chat }) => kv.schedule([{ sequence: chat, tokens: 59 }]),
    ],
    ['a count of 2^29', 'INVALID_ARGUMENT', ({ batch, chat }) => batch.addGuesses(chat, 2 ** 29)],
    [
      'guesses that are neither true nor false',
      'INVALID_OPTION',
      ({ kv, chat }) => kv.schedule([{ sequence: chat, tokens: 1, guesses: wrong(1) }]),
    ],
    ['a token of −1', 'INVALID_TOKEN', ({ batch, chat }) => batch.addToken(chat, -1)],
    ['a token of 2^32', 'INVALID_TOKEN', ({ batch, chat }) => batch.addToken(chat, 2 ** 32)],
    ['no token id', 'INVALID_TOKEN', ({ batch, chat }) => batch.addToken(chat, wrong(undefined))],
    [
      'a token of no sequence',
      'SEQUENCE_FOREIGN',
      ({ batch }) => batch.addToken(wrong(undefined), 1),
    ],
    ['a token of a number', 'SEQUENCE_FOREIGN', ({ batch }) => batch.addToken(wrong(7), 1)],
    [
      'a token of a stranger',
      'SEQUENCE_FOREIGN',
      ({ batch, foreign }) => batch.addToken(foreign, 1),
    ],
  ]);

  it('one step more than may be open is TOO_MANY_OPEN_STEPS', () => {
    const { kv, chat } = scene;
    const second = mustSchedule(kv, [{ sequence: chat, tokens: [7] }]);
    const digest = kv.validate();
    const sequence = kv.open([1]);
    expect(() => kv.schedule([{ sequence, tokens: [1] }])).toThrow(coded('TOO_MANY_OPEN_STEPS'));
    sequence.close();
    expect(kv.validate()).not.toBe(0n);
    second.abort();
    expect(typeof digest).toBe('bigint');
  });
});

describe('accepting', () => {
  checkMisuse([
    ['after the end of the step', 'STEP_CLOSED', ({ ended, chat }) => ended.accept(chat, 1)],
    ['more than the entry has', 'INVALID_PATH', ({ open, busy }) => open.accept(busy, 2)],
    ['2^32 - 1 tokens', 'INVALID_PATH', ({ open, busy }) => open.accept(busy, 2 ** 32 - 1)],
    ['−1 tokens', 'INVALID_ARGUMENT', ({ open, busy }) => open.accept(busy, -1)],
    ['half a token', 'INVALID_ARGUMENT', ({ open, busy }) => open.accept(busy, 0.5)],
    ['a bigint', 'INVALID_ARGUMENT', ({ open, busy }) => open.accept(busy, wrong(1n))],
    ['nothing', 'INVALID_ARGUMENT', ({ open, busy }) => open.accept(busy, wrong(undefined))],
    ['for another sequence', 'NOT_IN_STEP', ({ open, chat }) => open.accept(chat, 0)],
    ['for a closed sequence', 'SEQUENCE_CLOSED', ({ open, closed }) => open.accept(closed, 0)],
    ['for a stranger', 'SEQUENCE_FOREIGN', ({ open, foreign }) => open.accept(foreign, 0)],
    ['for no sequence', 'SEQUENCE_FOREIGN', ({ open }) => open.accept(wrong(undefined), 0)],
    [
      'for an imitated sequence',
      'SEQUENCE_FOREIGN',
      ({ open, busy }) => open.accept(Object.create(busy) as Sequence, 0),
    ],
  ]);

  it('before older steps were executed is STEP_OUT_OF_ORDER, after a failure STEP_FAILED', () => {
    const { kv, chat, open, busy } = scene;
    const second = mustSchedule(kv, [{ sequence: chat, tokens: [7, 8] }]);
    const digest = kv.validate();
    expect(() => second.accept(chat, 1)).toThrow(coded('STEP_OUT_OF_ORDER'));
    expect(kv.validate()).toBe(digest);
    open.beginExecute();
    open.endExecute(false);
    expect(() => open.accept(busy, 0)).toThrow(coded('STEP_FAILED'));
    open.abort();
    kv.validate();
  });
});

describe('of a step,', () => {
  checkMisuse([
    ['a commit after its end', 'STEP_CLOSED', ({ ended }) => ended.commit()],
    ['an abort after its end', 'STEP_CLOSED', ({ ended }) => ended.abort()],
    ['execution after its end', 'STEP_CLOSED', ({ ended }) => ended.beginExecute()],
    ['the moves after its end', 'STEP_CLOSED', ({ ended }) => ended.moves],
    ['the tables after its end', 'STEP_CLOSED', ({ ended }) => ended.attention],
    ['an end before it began', 'STEP_EXECUTED', ({ open }) => open.endExecute(true)],
    ['an end with a word', 'INVALID_ARGUMENT', ({ open }) => open.endExecute(wrong('yes'))],
    ['a commit without ids', 'IDS_MISSING', ({ open }) => open.commit()],
    ['a commit with too few ids', 'IDS_MISSING', ({ open }) => open.commit([1])],
    ['a commit with too many ids', 'IDS_MISSING', ({ open }) => open.commit([1, 2, 3])],
    ['a commit with half an id', 'INVALID_TOKEN', ({ open }) => open.commit([1, 0.5])],
    ['a commit with a word', 'INVALID_TOKEN', ({ open }) => open.commit(wrong('ab'))],
  ]);

  it('a commit before an older step is STEP_OUT_OF_ORDER', () => {
    const { kv, chat, open } = scene;
    const second = mustSchedule(kv, [{ sequence: chat, tokens: [7] }]);
    const digest = kv.validate();
    expect(() => second.commit()).toThrow(coded('STEP_OUT_OF_ORDER'));
    expect(() => second.beginExecute()).toThrow(coded('STEP_OUT_OF_ORDER'));
    expect(kv.validate()).toBe(digest);
    open.commit([1, 2]);
    second.commit();
    kv.validate();
  });

  it('beginning twice is STEP_EXECUTED, and a commit after a failure STEP_FAILED', () => {
    const { kv, open } = scene;
    open.beginExecute();
    const digest = kv.validate();
    expect(() => open.beginExecute()).toThrow(coded('STEP_EXECUTED'));
    expect(kv.validate()).toBe(digest);
    open.endExecute(false);
    expect(() => open.commit([1, 2])).toThrow(coded('STEP_FAILED'));
    open.abort();
    kv.validate();
  });
});
