/** Sequences and steps in every state, and the check that a misuse of one names its code and changes nothing. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Batch, ErrorCode, KvCacheManager, Sequence, Step } from '../src/index.js';
import { coded, ids, mustSchedule, openComputed, smallManager } from './api.helpers.js';

export interface Scene {
  readonly kv: KvCacheManager;
  /** 6 committed tokens. */
  readonly chat: Sequence;
  readonly closed: Sequence;
  readonly dropped: Sequence;
  /** In `open`. */
  readonly busy: Sequence;
  /** In `open`, and closed since. */
  readonly closing: Sequence;
  /** Of another manager. */
  readonly foreign: Sequence;
  readonly foreignBatch: Batch;
  readonly batch: Batch;
  readonly ended: Step;
  /** Scheduled with a token for `busy` and two counted ones for `closing`. */
  readonly open: Step;
}

export let scene: Scene;
let other: KvCacheManager;

/** To be called once by a test file. */
export function setScene(): void {
  beforeEach(build);
  afterEach(() => {
    scene.kv.close();
    other.close();
  });
}

function build(): void {
  const kv = smallManager({ maxOpenSteps: 2 });
  other = smallManager();
  const chat = openComputed(kv, ids(6));
  const closed = openComputed(kv, ids(9, 20));
  closed.close();
  const dropped = openComputed(kv, ids(5, 40));
  kv.preempt(dropped, { mode: 'drop' });
  const busy = openComputed(kv, ids(5, 60));
  const closing = openComputed(kv, ids(5, 80));
  const ended = mustSchedule(kv, [{ sequence: chat, tokens: [7] }]);
  ended.abort();
  const open = mustSchedule(kv, [
    { sequence: busy, tokens: [65] },
    { sequence: closing, tokens: 2 },
  ]);
  closing.close();
  const foreign = other.open(ids(3));
  const foreignBatch = other.batch();
  const batch = kv.batch();
  scene = { kv, chat, closed, dropped, busy, closing, foreign, foreignBatch, batch, ended, open };
}

export type Row = readonly [what: string, code: ErrorCode, misuse: (scene: Scene) => unknown];

/** For arguments that TypeScript would refuse. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- a cast, in short
export function wrong<Type>(value: unknown): Type {
  return value as Type;
}

/** Each row's misuse throws its code, and leaves digest, statistics and the open step as they were. */
export function checkMisuse(rows: readonly Row[]): void {
  it.each(rows)('%s is %s', (_, code, misuse) => {
    const { kv } = scene;
    const digest = kv.validate();
    const stats = kv.stats();
    expect(() => misuse(scene)).toThrow(coded(code));
    expect(kv.validate()).toBe(digest);
    expect(kv.stats()).toEqual(stats);
    scene.open.commit([85, 86]);
    kv.validate();
  });
}

export const BAD_TOKENS: readonly (readonly [string, ErrorCode, unknown])[] = [
  ['no token', 'EMPTY_TOKENS', []],
  ['an empty Uint32Array', 'EMPTY_TOKENS', new Uint32Array()],
  ['a fraction among tokens', 'INVALID_TOKEN', [1, 1.5]],
  ['a negative token', 'INVALID_TOKEN', [-1]],
  ['NaN as a token', 'INVALID_TOKEN', [NaN]],
  ['a token of 33 bits', 'INVALID_TOKEN', [2 ** 32]],
  ['infinity as a token', 'INVALID_TOKEN', [Infinity]],
  ['a string as a token', 'INVALID_TOKEN', ['1']],
  ['a bigint as a token', 'INVALID_TOKEN', [1n]],
  ['a hole among tokens', 'INVALID_TOKEN', Array(2)],
  ['a string for tokens', 'INVALID_TOKEN', '123'],
  ['an object for tokens', 'INVALID_TOKEN', { length: 1, 0: 1 }],
  ['a Float64Array for tokens', 'INVALID_TOKEN', Float64Array.of(1)],
  ['an Int32Array for tokens', 'INVALID_TOKEN', Int32Array.of(1)],
  ['a disguised array for tokens', 'INVALID_TOKEN', new Proxy(Uint32Array.of(1), {})],
  ['a buffer for tokens', 'INVALID_TOKEN', new ArrayBuffer(8)],
  ['null for tokens', 'INVALID_TOKEN', null],
  ['nothing for tokens', 'INVALID_TOKEN', undefined],
];
