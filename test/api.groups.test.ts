/** Cache groups of layers that do not read all: their blocks, and what they still serve. */
import { describe, expect, it } from 'vitest';
import { findPlane } from '../src/device/layout.js';
import { KvCacheManager } from '../src/index.js';
import { HostCache } from '../src/device/host.js';
import { BLOCK, compute, ids, MODEL, openComputed, smallManager } from './api.helpers.js';

const WINDOW = 8;

function slidingManager(local: { deviceBlocks?: number; sinks?: number; rollback?: number } = {}) {
  const model = { ...MODEL, local: { layers: [1], window: WINDOW, ...local } };
  return smallManager({ model });
}

describe('a model with local layers', () => {
  it('has a group for them, of as many blocks as it asks for', () => {
    using kv = slidingManager({ deviceBlocks: 5, sinks: 2 });
    const [full, local] = kv.layout.groups;
    expect(full).toMatchObject({ name: 'full', kind: 'full', deviceBlocks: 16 });
    expect(local).toMatchObject({
      name: 'local',
      kind: 'sliding',
      window: WINDOW,
      sinks: 2,
      rollback: BLOCK,
      deviceBlocks: 5,
    });
    expect(findPlane(kv.layout, 1, 'value')).toEqual({ group: 1, plane: 1 });
  });

  it('divides bytes among the groups that ask for no blocks', () => {
    const model = { ...MODEL, local: { layers: [1], window: WINDOW, deviceBlocks: 4 } };
    const planeBytes = BLOCK * MODEL.kvHeads * MODEL.headDim * 4;
    using kv = smallManager({ model, device: { bytes: 2 * planeBytes * (4 + 10) } });
    expect(kv.layout.groups.map(({ deviceBlocks }) => deviceBlocks)).toEqual([10, 4]);
  });

  it('decodes on in the blocks that a window takes', () => {
    using kv = slidingManager({ deviceBlocks: 5 });
    const chat = openComputed(kv, ids(3));
    while (chat.length < 60) compute(kv, chat, ids(1, chat.length));
    expect(kv.validate()).toBeDefined();
  });

  it('tells from where to compute where what is read was given back', () => {
    using kv = slidingManager();
    const chat = openComputed(kv, ids(40));
    expect(chat.truncate(38)).toBe(38);
    expect(chat.fork(37).length).toBe(37);
    expect(chat.fork(20).length).toBe(0);
    expect(chat.truncate(20)).toBe(0);
  });

  it('finds of a prompt what all groups serve', () => {
    using kv = slidingManager();
    openComputed(kv, ids(40)).close();
    expect(kv.open(ids(44)).cachedTokens).toBe(40);
    expect(kv.lookup(ids(20)).device).toBe(0);
  });
});

describe('layers that read the planes of another', () => {
  it('are led to them', () => {
    const planes = ['key', 'value'].map((name) => ({
      layer: 0,
      name,
      bytesPerToken: 8,
      sharedBy: [1, 3],
    }));
    using kv = new KvCacheManager({
      groups: [{ name: 'all', kind: 'full', planes }],
      device: { blocks: 2 },
    });
    using cache = new HostCache(kv);
    expect(findPlane(cache.layout, 3, 'value')).toEqual({ group: 0, plane: 1 });
    expect(() => findPlane(cache.layout, 2, 'key')).toThrow('layer 2');
  });
});
