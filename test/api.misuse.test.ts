/** Every misuse names its code and leaves the state as it was, to the last list order. */
import { describe, expect, it } from 'vitest';
import type { ErrorCode, NamespaceOption, TokenIds } from '../src/index.js';
import { coded, ids } from './api.helpers.js';
import { BAD_TOKENS, checkMisuse, scene, setScene, wrong, type Row } from './api.scene.js';

setScene();

const BAD_OPTIONS: readonly (readonly [string, ErrorCode, unknown])[] = [
  ['a number as a namespace', 'INVALID_NAMESPACE', { namespace: 7 }],
  ['null as a namespace', 'INVALID_NAMESPACE', { namespace: null }],
  ['a lone surrogate as a namespace', 'INVALID_NAMESPACE', { namespace: 'a\ud800' }],
  ['a replacement character as a namespace', 'INVALID_NAMESPACE', { namespace: '\ufffd' }],
  ['a namespace of 1025 bytes', 'INVALID_NAMESPACE', { namespace: 'x'.repeat(1025) }],
  ['a namespace of 1026 bytes', 'INVALID_NAMESPACE', { namespace: 'ä'.repeat(513) }],
  ['a misspelled option', 'UNKNOWN_OPTION', { namespce: 'a' }],
  ['a namespace for options', 'INVALID_OPTION', 'tenant'],
  ['null for options', 'INVALID_OPTION', null],
];

describe('opening with', () => {
  checkMisuse([
    ...BAD_TOKENS.map(([what, code, tokens]): Row => [
      what,
      code,
      ({ kv }) => kv.open(wrong<TokenIds>(tokens)),
    ]),
    ...BAD_OPTIONS.map(([what, code, options]): Row => [
      what,
      code,
      ({ kv }) => kv.open([1], wrong<NamespaceOption>(options)),
    ]),
    ['a prompt of 65 tokens', 'SEQUENCE_TOO_LONG', ({ kv }) => kv.open(ids(65))],
    ['2^28 + 1 tokens', 'SEQUENCE_TOO_LONG', ({ kv }) => kv.open(Array<number>(2 ** 28 + 1))],
  ]);

  it('more sequences than may be open is TOO_MANY_SEQUENCES', () => {
    const { kv } = scene;
    while (kv.stats().sequences < 8) kv.open([1]);
    const digest = kv.validate();
    expect(() => kv.open([1])).toThrow(coded('TOO_MANY_SEQUENCES'));
    expect(() => scene.chat.fork()).toThrow(coded('TOO_MANY_SEQUENCES'));
    expect(kv.validate()).toBe(digest);
  });
});

describe('asking with', () => {
  const bad = BAD_TOKENS.filter(([, code]) => code !== 'EMPTY_TOKENS');
  checkMisuse([
    ...bad.map(([what, code, tokens]): Row => [
      what,
      code,
      ({ kv }) => kv.lookup(wrong<TokenIds>(tokens)),
    ]),
    ...BAD_OPTIONS.map(([what, code, options]): Row => [
      `${what}, what fits,`,
      code,
      ({ kv }) => kv.admission([1], wrong<NamespaceOption>(options)),
    ]),
  ]);
});

describe('forgetting', () => {
  checkMisuse(
    BAD_OPTIONS.map(([what, code, options]): Row => [
      what,
      code,
      ({ kv }) => kv.clear(wrong<NamespaceOption>(options)),
    ]),
  );
});

describe('of a sequence,', () => {
  checkMisuse([
    ['a fork at −1', 'INVALID_ARGUMENT', ({ chat }) => chat.fork(-1)],
    ['a fork at a fraction', 'INVALID_ARGUMENT', ({ chat }) => chat.fork(1.5)],
    ['a fork at NaN', 'INVALID_ARGUMENT', ({ chat }) => chat.fork(NaN)],
    ['a fork at a string', 'INVALID_ARGUMENT', ({ chat }) => chat.fork(wrong('3'))],
    ['a fork past the end', 'BEYOND_END', ({ chat }) => chat.fork(7)],
    ['a fork past everything', 'BEYOND_END', ({ chat }) => chat.fork(2 ** 32 - 1)],
    ['a fork of a closed one', 'SEQUENCE_CLOSED', ({ closed }) => closed.fork(0)],
    ['a fork of a closing one', 'SEQUENCE_CLOSED', ({ closing }) => closing.fork(0)],
    ['a fork of a dropped one', 'SEQUENCE_DROPPED', ({ dropped }) => dropped.fork()],
    ['a truncate to −1', 'INVALID_ARGUMENT', ({ chat }) => chat.truncate(-1)],
    ['a truncate to nothing', 'INVALID_ARGUMENT', ({ chat }) => chat.truncate(wrong(undefined))],
    ['a truncate past the end', 'BEYOND_END', ({ chat }) => chat.truncate(7)],
    ['a truncate in a step', 'SEQUENCE_IN_STEP', ({ busy }) => busy.truncate(1)],
    ['a truncate of a closed one', 'SEQUENCE_CLOSED', ({ closed }) => closed.truncate(0)],
    ['a resume of an active one', 'SEQUENCE_NOT_DROPPED', ({ chat }) => chat.resume([1])],
    ['a resume without tokens', 'EMPTY_TOKENS', ({ dropped }) => dropped.resume([])],
    ['a resume with half a token', 'INVALID_TOKEN', ({ dropped }) => dropped.resume([0.5])],
    ['a resume of a closed one', 'SEQUENCE_CLOSED', ({ closed }) => closed.resume([1])],
    ['a second close', 'SEQUENCE_CLOSED', ({ closed }) => closed.close()],
    ['a second close in a step', 'SEQUENCE_CLOSED', ({ closing }) => closing.close()],
    ['the length of a closed one', 'SEQUENCE_CLOSED', ({ closed }) => closed.length],
    [
      'a preemption by another manager',
      'SEQUENCE_FOREIGN',
      ({ kv, foreign }) => kv.preempt(foreign),
    ],
    ['a preemption of nothing', 'SEQUENCE_FOREIGN', ({ kv }) => kv.preempt(wrong(undefined))],
    ['a preemption of a closed one', 'SEQUENCE_CLOSED', ({ kv, closed }) => kv.preempt(closed)],
    ['a preemption in a step', 'SEQUENCE_IN_STEP', ({ kv, busy }) => kv.preempt(busy)],
    ['a preemption of a dropped one', 'SEQUENCE_DROPPED', ({ kv, dropped }) => kv.preempt(dropped)],
    [
      'a preemption by swopping',
      'INVALID_OPTION',
      ({ kv, chat }) => kv.preempt(chat, { mode: wrong('swop') }),
    ],
    [
      'a preemption with a misspelling',
      'UNKNOWN_OPTION',
      ({ kv, chat }) => kv.preempt(chat, wrong({ mod: 'swap' })),
    ],
  ]);
});
