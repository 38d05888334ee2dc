/** Quotas by namespace: what a tenant may have, what it keeps, and which asks are refused. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type {
  ErrorCode,
  KvCacheManager,
  KvCacheManagerOptions,
  QuotaOptions,
} from '../src/index.js';
import {
  BLOCK,
  coded,
  compute,
  ids,
  mustSchedule,
  openComputed,
  smallManager,
} from './api.helpers.js';
import { checkMisuse, scene, setScene, wrong } from './api.scene.js';

let kv: KvCacheManager;

function make(options: Partial<KvCacheManagerOptions> = {}): KvCacheManager {
  kv = smallManager({ device: { blocks: 8 }, eviction: 'lru', ...options });
  return kv;
}

/** A prompt of full blocks, which no other number has any of. */
function prompt(number: number, blocks = 2): Uint32Array {
  return ids(blocks * BLOCK, number * 1000);
}

function cache(namespace: string, number: number, blocks = 2): void {
  openComputed(kv, prompt(number, blocks), namespace).close();
}

/** Blocks found of a prompt, on the device and on the host. */
function found(namespace: string, number: number): readonly [number, number] {
  const { device, host } = kv.lookup(prompt(number, 9), { namespace });
  return [device / BLOCK, host / BLOCK];
}

beforeEach(() => make());
afterEach(() => {
  kv.validate();
  kv.close();
});

describe('a max', () => {
  it('lets a tenant evict its own blocks only, however many are free', () => {
    kv.setQuota({ namespace: 'b', device: { max: 3 } });
    cache('a', 1);
    cache('b', 2);
    cache('b', 3);
    expect(found('a', 1)).toEqual([2, 0]);
    expect(found('b', 2)).toEqual([1, 0]);
    expect(found('b', 3)).toEqual([2, 0]);
    expect(kv.stats().device.free).toBe(3);
  });

  it('that is reached is out of blocks, in the numbers of the tenant', () => {
    kv.setQuota({ namespace: 'a', device: { max: 3 } });
    const held = openComputed(kv, prompt(1, 1), 'a');
    const more = kv.open(prompt(2, 4), { namespace: 'a' });
    expect(kv.schedule([{ sequence: more, tokens: prompt(2, 4) }])).toEqual({
      ok: false,
      needed: 4,
      free: 2,
      inFlight: 0,
    });
    expect(kv.admission([], { namespace: 'a' })).toMatchObject({
      now: 2 * BLOCK,
      afterEviction: 2 * BLOCK,
    });
    expect(kv.admission().afterEviction).toBe(7 * BLOCK);
    held.close();
    compute(kv, more, prompt(2, 3));
  });

  it('on the host lets what must leave the device be lost', () => {
    make({ device: { blocks: 4 }, host: { blocks: 4 } });
    kv.setQuota({ namespace: 'a', host: { max: 1 } });
    cache('a', 1, 2);
    cache('b', 2, 1);
    cache('b', 3, 2);
    cache('b', 4, 1);
    expect(found('a', 1)).toEqual([0, 1]);
  });

  it('on the host bounds what is swapped out', () => {
    make({ host: { blocks: 8 } });
    kv.setQuota({ namespace: 'a', host: { max: 1 } });
    const chat = openComputed(kv, prompt(1, 2), 'a');
    expect(kv.preempt(chat)).toMatchObject({ ok: false, needed: 2, free: 1 });
    expect(chat.state).toBe('active');
  });

  it('of zero lets a tenant have nothing', () => {
    kv.setQuota({ namespace: 'a', device: { max: 0 } });
    const chat = kv.open([1], { namespace: 'a' });
    expect(kv.schedule([{ sequence: chat, tokens: [1] }]).ok).toBe(false);
  });

  it('that comes below what is there never lets it grow', () => {
    const chat = openComputed(kv, prompt(1, 4), 'a');
    kv.setQuota({ namespace: 'a', device: { max: 2 } });
    expect(kv.schedule([{ sequence: chat, tokens: prompt(9, 1) }]).ok).toBe(false);
    chat.truncate(1);
    kv.clear({ namespace: 'a' });
    compute(kv, chat, [7]);
  });
});

describe('a min', () => {
  it('survives whatever others do', () => {
    kv.setQuota({ namespace: 'a', device: { min: 3 } });
    cache('a', 1, 4);
    for (let number = 2; number < 20; number++) cache('b', number, 1 + (number % 5));
    expect(found('a', 1)).toEqual([3, 0]);
  });

  it('on the host survives, too', () => {
    make({ device: { blocks: 4 }, host: { blocks: 4 } });
    kv.setQuota({ namespace: 'a', host: { min: 2 } });
    cache('a', 1, 2);
    for (let number = 2; number < 20; number++) cache('b', number, 4);
    expect(found('a', 1)).toEqual([0, 2]);
  });

  it('is not free for others, and they are told', () => {
    kv.setQuota({ namespace: 'a', device: { min: 3 } });
    cache('a', 1, 4);
    expect(kv.admission([], { namespace: 'b' }).afterEviction).toBe(5 * BLOCK);
    const chat = kv.open(prompt(2, 6), { namespace: 'b' });
    expect(kv.schedule([{ sequence: chat, tokens: prompt(2, 6) }])).toMatchObject({
      ok: false,
      needed: 6,
      free: 5,
    });
  });

  it('of all tenants together has room in the tier', () => {
    kv.setQuota({ namespace: 'a', device: { min: 5 } });
    const more = { namespace: 'b', device: { min: 4 } };
    expect(() => kv.setQuota(more)).toThrow(coded('QUOTA_TOO_LARGE'));
    expect(() => kv.setQuota({ namespace: 'b', host: { min: 1 } })).toThrow(
      coded('QUOTA_TOO_LARGE'),
    );
    kv.setQuota({ namespace: 'a', device: { min: 4 } });
    kv.setQuota(more);
  });
});

describe('a quota', () => {
  it('of an aborted step is as it was', () => {
    kv.setQuota({ namespace: 'a', device: { max: 4 } });
    kv.setQuota({ namespace: 'b', device: { min: 2 } });
    cache('a', 1);
    cache('b', 2, 4);
    const chat = kv.open(prompt(3, 4), { namespace: 'a' });
    const digest = kv.validate();
    mustSchedule(kv, [{ sequence: chat, tokens: prompt(3, 4) }]).abort();
    expect(kv.validate()).toBe(digest);
  });

  it('that is taken back lets others evict again', () => {
    kv.setQuota({ namespace: 'a', device: { min: 4, max: 4 }, host: { max: 2 } });
    cache('a', 1, 4);
    kv.setQuota({ namespace: 'a', device: {} });
    cache('b', 2, 8);
    expect(found('a', 1)).toEqual([0, 0]);
    cache('a', 3, 8);
    expect(found('a', 3)).toEqual([8, 0]);
  });

  it('stays with its name when the namespace is cleared', () => {
    kv.setQuota({ namespace: 'a', device: { max: 2 } });
    cache('a', 1);
    kv.clear();
    cache('a', 2);
    cache('a', 3);
    expect(found('a', 2)).toEqual([0, 0]);
  });

  it('of a tenant with blocks waits for open steps; any other does not', () => {
    const chat = openComputed(kv, prompt(1), 'a');
    kv.setQuota({ namespace: 'b', device: { max: 4 } });
    const step = mustSchedule(kv, [{ sequence: chat, tokens: [1] }]);
    const quota = { namespace: 'a', device: { max: 4 } };
    expect(() => kv.setQuota(quota)).toThrow(coded('QUOTA_IN_USE'));
    kv.setQuota({ namespace: 'b', device: { max: 5 } });
    kv.setQuota({ namespace: 'c', device: { min: 1 } });
    step.commit();
    kv.setQuota(quota);
  });

  it('is had by 255 namespaces at most', () => {
    for (let i = 0; i < 255; i++) kv.setQuota({ namespace: `tenant ${i}`, device: { max: 1 } });
    const last = { namespace: 'one more', device: { max: 1 } };
    expect(() => kv.setQuota(last)).toThrow(coded('TOO_MANY_QUOTAS'));
    kv.setQuota({ namespace: 'tenant 3' });
    kv.setQuota(last);
    kv.setQuota({ namespace: 'none of these' });
  });
});

const BAD: readonly (readonly [what: string, code: ErrorCode, options: unknown])[] = [
  ['nothing', 'INVALID_OPTION', undefined],
  ['a name alone', 'INVALID_OPTION', 'a'],
  ['no namespace', 'INVALID_NAMESPACE', { device: { max: 1 } }],
  ['a number as a namespace', 'INVALID_NAMESPACE', { namespace: 7 }],
  ['a lone surrogate as a namespace', 'INVALID_NAMESPACE', { namespace: '\ud800' }],
  ['a namespace of 1025 bytes', 'INVALID_NAMESPACE', { namespace: 'x'.repeat(1025) }],
  ['a misspelled tier', 'UNKNOWN_OPTION', { namespace: 'a', devise: { max: 1 } }],
  ['a number for a tier', 'INVALID_OPTION', { namespace: 'a', device: 3 }],
  ['null for a tier', 'INVALID_OPTION', { namespace: 'a', host: null }],
  ['a misspelled limit', 'UNKNOWN_OPTION', { namespace: 'a', device: { mx: 1 } }],
  ['a negative min', 'INVALID_OPTION', { namespace: 'a', device: { min: -1 } }],
  ['half a block', 'INVALID_OPTION', { namespace: 'a', device: { max: 0.5 } }],
  ['NaN blocks', 'INVALID_OPTION', { namespace: 'a', host: { max: NaN } }],
  ['blocks without end', 'INVALID_OPTION', { namespace: 'a', host: { max: Infinity } }],
  ['a string of blocks', 'INVALID_OPTION', { namespace: 'a', device: { max: '3' } }],
  ['more than a pool can have', 'INVALID_OPTION', { namespace: 'a', device: { min: 2 ** 32 } }],
  ['a min above its max', 'INVALID_OPTION', { namespace: 'a', device: { min: 2, max: 1 } }],
  ['a min above the pool', 'QUOTA_TOO_LARGE', { namespace: 'a', device: { min: 17 } }],
  ['a min where there is no host', 'QUOTA_TOO_LARGE', { namespace: 'a', host: { min: 1 } }],
  ['what has blocks, in a step', 'QUOTA_IN_USE', { namespace: '', device: { max: 1 } }],
];

describe('a quota of', () => {
  setScene();
  checkMisuse(
    BAD.map(([what, code, options]) => [
      what,
      code,
      () => scene.kv.setQuota(wrong<QuotaOptions>(options)),
    ]),
  );

  it('a closed manager is MANAGER_CLOSED', () => {
    scene.kv.close();
    expect(() => scene.kv.setQuota({ namespace: 'a' })).toThrow(coded('MANAGER_CLOSED'));
  });
});
