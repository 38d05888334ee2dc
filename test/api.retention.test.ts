/** How long blocks are kept: what callers ask for, and what it does to who is evicted. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KvCacheManager, KvCacheManagerOptions, Retention } from '../src/index.js';
import {
  BLOCK,
  coded,
  compute,
  ids,
  mustSchedule,
  openComputed,
  smallManager,
} from './api.helpers.js';

/** Two blocks each, alike in nothing; the third is the pressure that evicts. */
const A = ids(2 * BLOCK, 100);
const B = ids(2 * BLOCK, 200);
const NEXT = ids(2 * BLOCK, 900);

let now = 0;
let kv: KvCacheManager;

/** Room for two prompts of two blocks: the next one evicts one of them. */
function make(options: Partial<KvCacheManagerOptions> = {}): KvCacheManager {
  return smallManager({ device: { blocks: 4 }, eviction: 'lru', clock: () => now, ...options });
}

/** Full blocks of a prompt found on the device. */
function blocksOf(prompt: Uint32Array): number {
  return kv.lookup(Uint32Array.of(...prompt, 1)).device / BLOCK;
}

function cache(prompt: Uint32Array, retention?: Retention): void {
  const sequence = kv.open(prompt, retention && { retention });
  compute(kv, sequence, prompt.subarray(sequence.cachedTokens));
  sequence.close();
}

/** Takes as many blocks as the next prompt has, and lets them go. */
function press(prompt = NEXT): void {
  openComputed(kv, prompt).close();
}

beforeEach(() => {
  now = 0;
  kv = make();
});
afterEach(() => {
  kv.validate();
  kv.close();
});

describe('priority', () => {
  it('keeps a block however long ago it was used, while one of a lower priority is left', () => {
    cache(A, { priority: 4 });
    cache(B);
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
    press(ids(2 * BLOCK, 1000));
    expect(blocksOf(A)).toBe(2);
  });

  it('lets a block go first that is worth less than others', () => {
    cache(A);
    cache(B, { priority: 0 });
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
  });

  it('goes by ranges of tokens: a block belongs to the range of its last token', () => {
    cache(A, { priority: 6, to: BLOCK + 1 });
    cache(B, { priority: 5 });
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([1, 1]);
  });

  it('holds for tokens that the sequence computes later', () => {
    const chat = kv.open(A, { retention: { priority: 5 } });
    compute(kv, chat, A.subarray(0, BLOCK));
    compute(kv, chat, A.subarray(BLOCK));
    chat.close();
    cache(B);
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
  });

  it('is inherited by forks, and reaches what several hold', () => {
    const chat = openComputed(kv, A.subarray(0, BLOCK));
    chat.retain({ priority: 5 });
    const fork = chat.fork();
    compute(kv, fork, A.subarray(BLOCK));
    chat.close();
    fork.close();
    cache(B);
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
  });

  it('can be changed for what is cached, and tells how much that is', () => {
    cache(A);
    cache(B);
    expect(kv.retain(Uint32Array.of(...A, 7, 7), { priority: 6 })).toBe(A.length);
    expect(kv.retain(ids(3), { priority: 6 })).toBe(0);
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
  });

  it('asks for nothing in other namespaces', () => {
    cache(A);
    expect(kv.retain(A, { priority: 6 }, { namespace: 'other' })).toBe(0);
    cache(B);
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([0, 2]);
  });

  it('never lets a prefix go before its continuations, whatever was asked', () => {
    cache(A, [
      { priority: 0, to: BLOCK },
      { priority: 6, from: BLOCK },
    ] as unknown as Retention);
    cache(B);
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
  });
});

describe('a time to live', () => {
  it('lets a block go before all others once it was not used for so long', () => {
    cache(A);
    cache(B, { ttl: 1000 });
    now = 999;
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([0, 2]);
    kv.clear();
    cache(A);
    cache(B, { ttl: 1000, priority: 6 });
    now += 1000;
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
  });

  it('begins anew with each use', () => {
    cache(A, { ttl: 1000 });
    cache(B);
    now = 900;
    kv.open(A).close();
    now = 1800;
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
  });

  it('does not run while a sequence holds the block', () => {
    const chat = kv.open(A, { retention: { ttl: 10 } });
    compute(kv, chat, A);
    now = 10_000;
    cache(B);
    expect(kv.schedule([{ sequence: kv.open(NEXT), tokens: NEXT }])).toMatchObject({ ok: true });
    expect(blocksOf(A)).toBe(2);
  });
});

describe('what is known of the next use', () => {
  it('lets what an ended conversation leaves go first', () => {
    cache(A);
    const chat = openComputed(kv, B);
    chat.close({ reuse: 'never' });
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
  });

  it('spares what others used too', () => {
    kv.close();
    kv = make({ device: { blocks: 6 } });
    const system = ids(BLOCK, 50);
    const one = Uint32Array.of(...system, ...A.subarray(0, BLOCK));
    const two = Uint32Array.of(...system, ...B.subarray(0, BLOCK));
    cache(one);
    openComputed(kv, two).close({ reuse: 'never' });
    press(ids(4 * BLOCK, 900));
    expect([blocksOf(one), blocksOf(two)]).toEqual([2, 1]);
  });

  it('can be told after the close', () => {
    cache(A);
    cache(B);
    kv.expectReuse(B, 'never');
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
  });

  it('as a number counts once it was learned what such numbers mean', () => {
    const SOON = 4;
    const LATE = 1000;
    const whoStays = (expectations: readonly [Uint32Array, number][]): number[] => {
      kv.close();
      kv = make({ eviction: 'adaptive' });
      teach(SOON, LATE);
      cache(A);
      cache(B);
      for (const [prompt, reuse] of expectations) kv.expectReuse(prompt, reuse);
      press();
      return [blocksOf(A), blocksOf(B)];
    };
    expect(whoStays([])).toEqual([0, 2]);
    expect(
      whoStays([
        [A, SOON],
        [B, LATE],
      ]),
    ).toEqual([2, 0]);
    expect(
      whoStays([
        [B, LATE],
        [A, LATE],
        [B, SOON],
      ]),
    ).toEqual([0, 2]);
    expect(whoStays([[B, LATE]])).toEqual([2, 0]);
  });

  /** Conversations that come back as it was told of them, some soon and some late, until that is known. */
  function teach(soon: number, late: number): void {
    for (let round = 0; round < 64; round++) {
      const patient = ids(2 * BLOCK, 10_000 + round * 100);
      const hasty = ids(2 * BLOCK, 10_050 + round * 100);
      openComputed(kv, patient).close({ reuse: late });
      openComputed(kv, hasty).close({ reuse: soon });
      now += soon;
      kv.open(hasty).close({ reuse: 'never' });
      now += late - soon;
      kv.open(patient).close({ reuse: 'never' });
    }
  }

  it('does not make a prompt unfindable', () => {
    openComputed(kv, A).close({ reuse: 'never' });
    expect(blocksOf(A)).toBe(2);
    cache(A);
    cache(B);
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([0, 2]);
  });
});

describe('a pin', () => {
  it('keeps what is cached of a prompt until it is unpinned', () => {
    cache(A);
    const pin = kv.pin(Uint32Array.of(...A, 1));
    expect(pin.tokens).toBe(A.length);
    cache(B);
    press();
    press(ids(2 * BLOCK, 1000));
    expect(blocksOf(A)).toBe(2);
    pin.unpin();
    pin.unpin();
    press(ids(4 * BLOCK, 1100));
    expect(blocksOf(A)).toBe(0);
  });

  it('holds nothing of a prompt that is not cached', () => {
    const pin = kv.pin(A);
    expect(pin.tokens).toBe(0);
    expect(kv.stats().device.held).toBe(0);
    pin.unpin();
  });
});

describe('demotion and prefetch', () => {
  beforeEach(() => {
    kv.close();
    kv = make({ host: { blocks: 4 } });
  });

  it('moves what is cached to the host, and back before it is needed', () => {
    cache(A);
    const away = kv.demote(A);
    expect(away.blocks).toBe(2);
    away.beginExecute();
    away.endExecute(true);
    expect(kv.lookup(A)).toMatchObject({ device: 0, host: A.length - 1 });
    const back = kv.prefetch(Uint32Array.of(...A, 1));
    if (!back.ok) throw new Error('no room');
    expect(back.moves.onboards.length).toBe(2 * 3);
    expect(back.attention).toMatchObject({ batch: 1, tokens: 0 });
    back.commit();
    expect(blocksOf(A)).toBe(2);
    expect(kv.stats()).toMatchObject({ sequences: 0, opens: 1, onboardedBlocks: 2 });
  });

  it('leaves what is held, and what is on the host already', () => {
    const chat = openComputed(kv, A);
    expect(kv.demote(A).blocks).toBe(0);
    chat.close();
    expect(kv.demote(ids(5)).blocks).toBe(0);
    const away = kv.demote(A);
    away.beginExecute();
    away.endExecute(true);
    expect(kv.demote(A).blocks).toBe(0);
  });

  it('brings nothing where nothing is cached, and still is a step', () => {
    const step = mustBePrefetched(ids(5));
    expect(step.moves.onboards.length).toBe(0);
    step.abort();
    expect(kv.stats().sequences).toBe(0);
  });

  it('undoes a prefetch without a trace', () => {
    cache(A);
    cache(B);
    const away = kv.demote(A);
    away.beginExecute();
    away.endExecute(true);
    const digest = kv.validate();
    mustBePrefetched(A).abort();
    expect(kv.validate()).toBe(digest);
  });

  it('is out of blocks where the device is full of what is held', () => {
    cache(A);
    const away = kv.demote(A);
    away.beginExecute();
    away.endExecute(true);
    openComputed(kv, ids(4 * BLOCK, 500));
    const digest = kv.validate();
    expect(kv.prefetch(A)).toMatchObject({ ok: false });
    expect(kv.validate()).toBe(digest);
  });

  function mustBePrefetched(prompt: Uint32Array) {
    const step = kv.prefetch(prompt);
    if (!step.ok) throw new Error('no room');
    return step;
  }
});

describe('the clock', () => {
  it.each([
    ['NaN', NaN],
    ['a negative time', -1],
    ['text', '1'],
  ])('that tells %s is refused', (_, time) => {
    using odd = make({ clock: () => time as number });
    expect(() => odd.open(A)).toThrow(coded('INVALID_CLOCK'));
  });

  it('that goes back stands still', () => {
    now = 500;
    cache(A, { ttl: 100 });
    now = 0;
    cache(B);
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([0, 2]);
  });
});

describe('eviction policies', () => {
  it.each(['adaptive', 'lru', 'arc'] as const)('%s evicts all that nobody holds', (eviction) => {
    using each = make({ eviction });
    openComputed(each, A).close();
    openComputed(each, B).close();
    const step = mustSchedule(each, [{ sequence: each.open(ids(16)), tokens: ids(16) }]);
    step.commit();
    expect(each.stats()).toMatchObject({ evictions: 4 });
    each.validate();
  });

  it('arc keeps what was used again over what was used once', () => {
    kv.close();
    kv = make({ eviction: 'arc' });
    cache(A);
    kv.open(A).close();
    cache(B);
    press();
    expect([blocksOf(A), blocksOf(B)]).toEqual([2, 0]);
  });
});
