/** Events: what a router that keeps a picture of the cache is told. Blocks have 4 tokens. */
import { describe, expect, it } from 'vitest';
import type { CacheEvent, KvCacheManager, StoredEvent } from '../src/index.js';
import { coded, compute, ids, mustSchedule, openComputed, smallManager } from './api.helpers.js';
import { checkMisuse, setScene, wrong } from './api.scene.js';

function followed(blocks = 16, host?: number): KvCacheManager {
  const tiers = { device: { blocks }, ...(host === undefined ? {} : { host: { blocks: host } }) };
  return smallManager({ events: true, ...tiers });
}

function stored(events: readonly CacheEvent[]): StoredEvent[] {
  return events.filter((event) => event.kind === 'stored');
}

function kinds(kv: KvCacheManager): string[] {
  return kv.takeEvents().map(({ kind }) => kind);
}

describe('events', () => {
  it('tell each block with its parent, tokens, namespace and keys', () => {
    using kv = followed();
    const options = { namespace: 'tenant-7', keys: [{ from: 6, key: 'cat ä' }] };
    compute(kv, kv.open(ids(13), options), ids(13));
    const [first, second, third, ...rest] = stored(kv.takeEvents());
    expect(rest).toEqual([]);
    expect(first).toEqual({
      kind: 'stored',
      id: first!.id,
      parent: undefined,
      tokens: ids(4),
      namespace: 'tenant-7',
      keys: [],
    });
    expect(second).toMatchObject({ parent: first!.id, tokens: ids(4, 4) });
    expect(second!.keys).toEqual([{ from: 2, to: 4, key: 'cat ä' }]);
    expect(third).toMatchObject({ parent: second!.id, namespace: 'tenant-7' });
    expect(third!.keys).toEqual([{ from: 0, to: 4, key: 'cat ä' }]);
    expect(kv.takeEvents()).toEqual([]);
  });

  it('tell nothing before the commit, nor of a step that was aborted', () => {
    using kv = followed();
    const chat = kv.open(ids(8));
    const step = mustSchedule(kv, [{ sequence: chat, tokens: ids(8) }]);
    expect(kv.takeEvents()).toEqual([]);
    step.abort();
    expect(kv.takeEvents()).toEqual([]);
    compute(kv, chat, ids(8));
    expect(kinds(kv)).toEqual(['stored', 'stored']);
  });

  it('tell what is evicted by the id it was told with', () => {
    using kv = followed(4);
    openComputed(kv, ids(16)).close();
    const blocks = stored(kv.takeEvents());
    openComputed(kv, ids(6, 100)).close();
    const events = kv.takeEvents();
    expect(events.slice(0, 2)).toEqual([
      { kind: 'removed', id: blocks[3]!.id },
      { kind: 'removed', id: blocks[2]!.id },
    ]);
    expect(stored(events)).toHaveLength(1);
    expect(events).toHaveLength(3);
  });

  it('tell nothing of moves between tiers', () => {
    using kv = followed(4, 8);
    openComputed(kv, ids(16)).close();
    kv.takeEvents();
    openComputed(kv, ids(16, 100)).close();
    expect(kinds(kv)).toEqual(['stored', 'stored', 'stored', 'stored']);
    expect(kv.lookup(ids(17))).toMatchObject({ host: 16 });
    openComputed(kv, ids(16)).close();
    expect(kv.takeEvents()).toEqual([]);
  });

  it('tell what is cleared, held or not, and no more of those who hold it', () => {
    using kv = followed();
    const chat = openComputed(kv, ids(8), 'a');
    openComputed(kv, ids(4, 100), 'a').close();
    openComputed(kv, ids(4, 100), 'b').close();
    kv.takeEvents();
    kv.clear({ namespace: 'a' });
    expect(kinds(kv)).toEqual(['removed', 'removed', 'removed']);
    compute(kv, chat, ids(8, 8));
    chat.close();
    expect(kv.takeEvents()).toEqual([]);
  });

  it('leave out what came and went since the last call', () => {
    using kv = followed(4);
    for (let text = 0; text < 50; text++) openComputed(kv, ids(16, 100 * text)).close();
    expect(kinds(kv)).toEqual(['stored', 'stored', 'stored', 'stored']);
  });

  it('begin anew with a snapshot, parents first', () => {
    using kv = followed();
    openComputed(kv, ids(16)).close();
    openComputed(kv, Uint32Array.of(...ids(8), 100, 101, 102, 103)).close();
    const before = stored(kv.takeEvents());
    const [reset, ...events] = kv.takeEvents({ snapshot: true });
    expect(reset).toEqual({ kind: 'reset' });
    expect(events).toEqual(before);
    const seen = new Set<number | undefined>([undefined]);
    for (const { id, parent } of stored(events)) {
      expect(seen).toContain(parent);
      seen.add(id);
    }
    expect(kv.takeEvents()).toEqual([]);
  });

  it('come in any number', () => {
    using kv = smallManager({
      events: true,
      device: { blocks: 8192 },
      maxSequenceTokens: 8192,
      maxBatchTokens: 8192,
    });
    for (const namespace of ['a', 'b', 'c']) openComputed(kv, ids(8192), namespace).close();
    const events = stored(kv.takeEvents());
    expect(events).toHaveLength(6144);
    expect(new Set(events.map(({ id }) => id)).size).toBe(6144);
    expect(events.filter(({ namespace }) => namespace === 'c')).toHaveLength(2048);
    expect(events.at(-1)!.tokens).toEqual(ids(4, 8188));
    kv.clear();
    expect(kv.takeEvents()).toHaveLength(6144);
    kv.validate();
  });

  it('make a picture that says what prompts find', () => {
    using kv = followed(8, 8);
    const picture = new Map<number, StoredEvent>();
    const longest = (tokens: readonly number[]): number => {
      let parent: number | undefined;
      let found = 0;
      for (; found + 4 < tokens.length; found += 4) {
        const wanted = tokens.slice(found, found + 4).join();
        const next = [...picture.values()].find(
          (block) => block.parent === parent && block.tokens.join() === wanted,
        );
        if (next === undefined) break;
        parent = next.id;
      }
      return found;
    };
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    for (let round = 0; round < 300; round++) {
      const prompt = Array.from({ length: 1 + random(24) }, () => random(2));
      openComputed(kv, Uint32Array.from(prompt)).close();
      for (const event of kv.takeEvents({ snapshot: round % 50 === 49 })) {
        if (event.kind === 'reset') picture.clear();
        else if (event.kind === 'removed') expect(picture.delete(event.id)).toBe(true);
        else picture.set(event.id, event);
      }
      // The last token is one that nobody has.
      const asked = [...Array.from({ length: random(24) }, () => random(2)), 9];
      const { device, host } = kv.lookup(asked);
      expect(longest(asked)).toBe(device + host - ((device + host) % 4));
    }
  });

  it('are off unless they are asked for', () => {
    using kv = smallManager();
    expect(() => kv.takeEvents()).toThrow(coded('EVENTS_OFF'));
    expect(() => smallManager({ events: wrong('yes') })).toThrow(coded('INVALID_OPTION'));
  });

  it('of a closed manager cannot be had', () => {
    const kv = followed();
    kv.close();
    expect(() => kv.takeEvents()).toThrow(coded('MANAGER_CLOSED'));
  });
});

describe('taking events', () => {
  setScene();
  checkMisuse([
    ['that were not asked for', 'EVENTS_OFF', ({ kv }) => kv.takeEvents()],
    ['with a misspelling', 'UNKNOWN_OPTION', ({ kv }) => kv.takeEvents(wrong({ snap: true }))],
    ['with a word', 'INVALID_OPTION', ({ kv }) => kv.takeEvents({ snapshot: wrong('yes') })],
    ['with null', 'INVALID_OPTION', ({ kv }) => kv.takeEvents(wrong(null))],
  ]);
});
