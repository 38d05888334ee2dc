/** The misuse of retention, and of what is told of the next use; see `api.misuse.test.ts`. */
import { describe, expect, it } from 'vitest';
import type { ErrorCode, Retention, Reuse } from '../src/index.js';
import { coded } from './api.helpers.js';
import { checkMisuse, scene, setScene, wrong } from './api.scene.js';

setScene();

describe('asking for retention', () => {
  const retention = (value: unknown) => wrong<Retention>(value);
  checkMisuse([
    ['a retention that is no object', 'INVALID_OPTION', ({ chat }) => chat.retain(retention(3))],
    ['a priority above the highest', 'INVALID_OPTION', ({ chat }) => chat.retain({ priority: 7 })],
    ['a negative priority', 'INVALID_OPTION', ({ chat }) => chat.retain({ priority: -1 })],
    ['a fraction of a priority', 'INVALID_OPTION', ({ chat }) => chat.retain({ priority: 1.5 })],
    ['a ttl of zero', 'INVALID_OPTION', ({ chat }) => chat.retain({ ttl: 0 })],
    ['a ttl that is not a number', 'INVALID_OPTION', ({ chat }) => chat.retain({ ttl: NaN })],
    ['a ttl of months', 'INVALID_OPTION', ({ chat }) => chat.retain({ ttl: 2 ** 31 })],
    ['a range that is empty', 'INVALID_OPTION', ({ chat }) => chat.retain({ from: 4, to: 4 })],
    ['a misspelling', 'UNKNOWN_OPTION', ({ chat }) => chat.retain(retention({ prioritty: 1 }))],
    ['retain on a closed sequence', 'SEQUENCE_CLOSED', ({ closed }) => closed.retain({})],
    ['retain while a step is open', 'SEQUENCE_IN_STEP', ({ busy }) => busy.retain({})],
    ['a reuse before now', 'INVALID_OPTION', ({ chat }) => chat.close({ reuse: -1 })],
    [
      'a reuse in words',
      'INVALID_OPTION',
      ({ chat }) => chat.close({ reuse: wrong<Reuse>('soon') }),
    ],
    ['a reuse of nothing', 'INVALID_OPTION', ({ kv }) => kv.expectReuse([1], wrong<Reuse>(null))],
    [
      'five ranges at once',
      'INVALID_OPTION',
      ({ kv }) => kv.open([1], { retention: Array<Retention>(5).fill({}) }),
    ],
    ['a prefetch of no token', 'EMPTY_TOKENS', ({ kv }) => kv.prefetch([])],
    ['a pin of no token', 'EMPTY_TOKENS', ({ kv }) => kv.pin([])],
    ['a demotion of what is no token', 'INVALID_TOKEN', ({ kv }) => kv.demote([-1])],
  ] satisfies readonly (readonly [string, ErrorCode, (s: typeof scene) => unknown])[]);

  it('a fifth range of its own is TOO_MANY_RETENTIONS', () => {
    const { chat } = scene;
    for (const from of [0, 10, 20, 30]) chat.retain({ from, to: from + 5 });
    expect(() => chat.retain({ from: 40 })).toThrow(coded('TOO_MANY_RETENTIONS'));
    chat.retain({ priority: 1 });
    chat.retain({ from: 40 });
  });
});
