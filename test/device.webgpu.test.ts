import { describe, expect, it } from 'vitest';
import { HostCache, poisonBlocks, type BlockCache } from '../src/device/host.js';
import { requestDevice, WebGpuCache, type WebGpuCacheOptions } from '../src/device/webgpu.js';
import type { CacheLayout } from '../src/plan.js';
import { FakeWork, modelLayout, oddLayout, type MoveLists } from './device.fakes.js';
import { countCreations, describeOnGpu } from './device.gpu.js';
import { Random, replay } from './device.random.js';

const SIZE = { blockSize: 5, deviceBlocks: 24, hostBlocks: 20 };
const TIERS = ['device', 'host'] as const;

/** A small staging buffer, so that transfers take several pieces; small slabs, so that there are several. */
const TIGHT: WebGpuCacheOptions = { stagingBytes: 5000, maxSlabBytes: 20_000 };

async function fill(random: Random, caches: readonly BlockCache[]): Promise<void> {
  for (const [g, group] of caches[0]!.layout.groups.entries()) {
    for (const [p, plane] of group.planes.entries()) {
      for (const tier of TIERS) {
        const blocks = tier === 'device' ? group.deviceBlocks : group.hostBlocks;
        for (let block = 0; block < blocks; block++) {
          const bytes = random.bytes(caches[0]!.layout.blockSize * plane.bytesPerToken);
          for (const cache of caches) await cache.writeBlock(g, p, block, bytes, tier);
        }
      }
    }
  }
}

/** Every byte of both tiers, by a name that tells where it is. */
async function contents(cache: BlockCache): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for (const [g, group] of cache.layout.groups.entries()) {
    for (const p of group.planes.keys()) {
      for (const tier of TIERS) {
        const blocks = tier === 'device' ? group.deviceBlocks : group.hostBlocks;
        for (let block = 0; block < blocks; block++) {
          const bytes = await cache.readBlock(g, p, block, tier);
          all.set(
            `${tier} group ${g} plane ${p} block ${block}`,
            Buffer.from(bytes).toString('hex'),
          );
        }
      }
    }
  }
  return all;
}

/** Moves as a planner makes them: no target twice, no copy's target also a source; neighbours and strays. */
function randomMoves(random: Random, layout: CacheLayout): MoveLists {
  const offloads: [number, number, number][] = [];
  const onboards: [number, number, number][] = [];
  const copies: [number, number, number, number][] = [];
  for (const [g, group] of layout.groups.entries()) {
    const device = neighbourly(random, group.deviceBlocks);
    const host = neighbourly(random, group.hostBlocks);
    const out = random.integer(0, 8);
    for (let i = 0; i < out; i++) offloads.push([g, device[i]!, host[i]!]);
    const back = random.integer(0, 8);
    for (let i = 0; i < back; i++) onboards.push([g, host[10 + i]!, device[i]!]);
    const copied = random.integer(0, 6);
    for (let i = 0; i < copied; i++) {
      const tokens = random.integer(1, layout.blockSize);
      copies.push([g, device[random.integer(0, 7)]!, device[10 + i]!, tokens]);
    }
  }
  return { offloads, onboards, copies };
}

/** A permutation in which many neighbours stay neighbours, upwards or downwards. */
function neighbourly(random: Random, blocks: number): number[] {
  const runs: number[][] = [];
  for (let first = 0; first < blocks;) {
    const length = Math.min(blocks - first, random.integer(1, 5));
    const run = Array.from({ length }, (_, i) => first + i);
    runs.push(random.next() < 0.5 ? run : run.reverse());
    first += length;
  }
  return random.shuffle(runs).flat();
}

await describeOnGpu('memory on a GPU', (device) => {
  describe.each(['kernel', 'copies'] as const)('that moves blocks by %s', (moves) => {
    it(`moves exactly what memory on the host moves (${replay})`, async () => {
      const random = new Random(`moves by ${moves}`);
      const layout = oddLayout(SIZE);
      const host = new HostCache({ layout });
      using cache = await WebGpuCache.create(device, { layout }, { ...TIGHT, moves });
      expect(cache.moves).toBe(moves);
      await fill(random, [host, cache]);
      for (let round = 0; round < 12; round++) {
        const plan = randomMoves(random, layout);
        const work = new FakeWork(plan);
        await Promise.all([host.execute(new FakeWork(plan)), cache.execute(work)]);
        expect(work.events).toEqual(['begin', 'done']);
      }
      expect(await contents(cache)).toEqual(await contents(host));
    });

    it('offloads, then onboards, then copies', async () => {
      const layout = oddLayout(SIZE);
      using cache = await WebGpuCache.create(device, { layout }, { moves });
      const bytes = new Random('order').bytes(SIZE.blockSize * 256);
      await cache.writeBlock(0, 1, 3, bytes);
      await cache.execute(
        new FakeWork({ offloads: [[0, 3, 7]], onboards: [[0, 7, 5]], copies: [[0, 5, 9, 5]] }),
      );
      expect(await cache.readBlock(0, 1, 7, 'host')).toEqual(bytes);
      expect(await cache.readBlock(0, 1, 9)).toEqual(bytes);
    });

    it('copies only the tokens that a partial copy names', async () => {
      const layout = oddLayout(SIZE);
      using cache = await WebGpuCache.create(device, { layout }, { moves });
      const random = new Random('partial');
      const [source, before] = [random.bytes(5 * 36), random.bytes(5 * 36)];
      await cache.writeBlock(1, 0, 1, source);
      await cache.writeBlock(1, 0, 2, before);
      await cache.execute(new FakeWork({ copies: [[1, 1, 2, 3]] }));
      const after = await cache.readBlock(1, 0, 2);
      expect(after.subarray(0, 3 * 36)).toEqual(source.subarray(0, 3 * 36));
      expect(after.subarray(3 * 36)).toEqual(before.subarray(3 * 36));
    });

    it('creates no buffer and no bind group once it is made', async () => {
      const layout = oddLayout(SIZE);
      using cache = await WebGpuCache.create(device, { layout }, { ...TIGHT, moves });
      const random = new Random('steady');
      using made = countCreations(device);
      for (let round = 0; round < 5; round++) {
        await cache.execute(new FakeWork(randomMoves(random, layout)));
      }
      expect(made.count).toBe(0);
    });
  });

  it('binds keys and values of a layer as aligned ranges of few buffers', async () => {
    const model = { layers: 6, kvHeads: 2, headDim: 8, dtype: 'f32' } as const;
    const layout = modelLayout(model, { blockSize: 3, deviceBlocks: 7 });
    using cache = await WebGpuCache.create(device, { layout });
    const planes = [0, 1, 2, 3, 4, 5].flatMap((layer) => [cache.key(layer), cache.value(layer)]);
    expect(new Set(planes.map((plane) => plane.buffer)).size).toBe(1);
    expect(new Set(planes.map((plane) => plane.offset)).size).toBe(12);
    for (const { offset, size } of planes) {
      expect(offset % device.limits.minStorageBufferOffsetAlignment).toBe(0);
      expect(size).toBe(7 * 3 * 2 * 8 * 4);
    }
  });

  it('runs executions that overlap one after the other', async () => {
    const layout = oddLayout(SIZE);
    using cache = await WebGpuCache.create(device, { layout });
    const bytes = new Random('overlap').bytes(SIZE.blockSize * 64);
    await cache.writeBlock(0, 0, 0, bytes);
    const out = new FakeWork({ offloads: [[0, 0, 0]] });
    const back = new FakeWork({ onboards: [[0, 0, 1]] });
    await Promise.all([cache.execute(out), cache.execute(back)]);
    expect(await cache.readBlock(0, 0, 1)).toEqual(bytes);
  });

  it('runs executions in the order they were asked for, also when asked after one has ended', async () => {
    const layout = oddLayout(SIZE);
    using cache = await WebGpuCache.create(device, { layout });
    const order: string[] = [];
    const work = (name: string): FakeWork => {
      const made = new FakeWork({ offloads: [[0, 0, 0]] });
      made.beginExecute = () => order.push(name);
      return made;
    };
    const a = cache.execute(work('a'));
    const b = cache.execute(work('b'));
    await a;
    await Promise.all([b, cache.execute(work('c'))]);
    expect(order).toEqual(['a', 'b', 'c']);
  });

  it('runs the next execution after one that failed', async () => {
    using cache = await WebGpuCache.create(device, { layout: oddLayout(SIZE) });
    const broken = new FakeWork();
    broken.beginExecute = () => {
      throw new Error('not now');
    };
    const next = new FakeWork();
    const results = await Promise.allSettled([cache.execute(broken), cache.execute(next)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    expect(next.events).toEqual(['begin', 'done']);
  });

  it('moves what it was told to, whatever becomes of the plan while it waits', async () => {
    using cache = await WebGpuCache.create(device, { layout: oddLayout(SIZE) });
    const bytes = new Random('reused').bytes(SIZE.blockSize * 64);
    await cache.writeBlock(0, 0, 3, bytes);
    const work = new FakeWork({
      offloads: [[0, 3, 7]],
      onboards: [[0, 7, 5]],
      copies: [[0, 5, 9, 5]],
    });
    const execution = cache.execute(work);
    await Promise.resolve();
    expect(work.events).toEqual(['begin']);
    for (const records of Object.values(work.moves) as Uint32Array[]) records.fill(1);
    await execution;
    expect(await cache.readBlock(0, 0, 7, 'host')).toEqual(bytes);
    expect(await cache.readBlock(0, 0, 9)).toEqual(bytes);
  });

  it.each([
    ['a misspelling', { move: 'kernel' }, 'UNKNOWN_OPTION', /did you mean 'moves'\?/],
    ['an unknown way to move', { moves: 'kernle' }, 'INVALID_OPTION', /'kernel' or 'copies'/],
    ['NaN', { stagingBytes: NaN }, 'INVALID_OPTION', /stagingBytes .* got NaN/],
    ['an empty slab', { maxSlabBytes: 0 }, 'INVALID_OPTION', /maxSlabBytes .* got 0/],
    ['a word for a flag', { touchHostMemory: 'no' }, 'INVALID_OPTION', /true or false/],
    ['no options', null, 'INVALID_OPTION', /the cache must be an object, got null/],
  ])('refuses %s before it makes anything', async (_, options, code, message) => {
    using made = countCreations(device);
    const create = WebGpuCache.create(
      device,
      { layout: oddLayout(SIZE) },
      options as WebGpuCacheOptions,
    );
    const refusal = expect.objectContaining({ code, message: expect.stringMatching(message) });
    await expect(create).rejects.toEqual(refusal);
    expect(made.count).toBe(0);
  });

  it('refuses a tier that is none', async () => {
    using cache = await WebGpuCache.create(device, { layout: oddLayout(SIZE) });
    const invalid = expect.objectContaining({ code: 'INVALID_ARGUMENT' });
    const tier = 'disk' as 'host';
    await expect(cache.readBlock(0, 0, 0, tier)).rejects.toEqual(invalid);
    await expect(cache.writeBlock(0, 0, 0, new Uint8Array(320), tier)).rejects.toEqual(invalid);
    await expect(poisonBlocks(cache, 0, undefined, tier)).rejects.toEqual(invalid);
  });

  it('lets go of what it had made when the rest cannot be', async () => {
    const create = device.createBuffer.bind(device);
    const made: GPUBuffer[] = [];
    const destroyed = new Set<GPUBuffer>();
    const createBuffer = (descriptor: GPUBufferDescriptor): GPUBuffer => {
      if (descriptor.label === 'pagedkv packed records') throw new TypeError('no');
      const buffer = create(descriptor);
      const destroy = buffer.destroy.bind(buffer);
      Object.defineProperty(buffer, 'destroy', {
        value: () => {
          destroyed.add(buffer);
          destroy();
        },
      });
      made.push(buffer);
      return buffer;
    };
    Object.defineProperty(device, 'createBuffer', { configurable: true, value: createBuffer });
    try {
      await expect(WebGpuCache.create(device, { layout: oddLayout(SIZE) })).rejects.toThrow('no');
    } finally {
      Reflect.deleteProperty(device, 'createBuffer');
    }
    expect(made.length).toBeGreaterThan(0);
    expect([...destroyed]).toEqual(made);
  });

  it('tries both ways to move blocks once for each shape of blocks, and picks one', async () => {
    const layout = oddLayout({ ...SIZE, blockSize: 6 });
    const trials: string[] = [];
    const create = device.createBuffer.bind(device);
    const createBuffer = (descriptor: GPUBufferDescriptor): GPUBuffer => {
      if (descriptor.label === 'pagedkv trial') trials.push(descriptor.label);
      return create(descriptor);
    };
    Object.defineProperty(device, 'createBuffer', { configurable: true, value: createBuffer });
    try {
      using first = await WebGpuCache.create(device, { layout });
      const tried = trials.length;
      expect(tried).toBeGreaterThan(0);
      using second = await WebGpuCache.create(device, { layout });
      expect(trials).toHaveLength(tried);
      expect(['kernel', 'copies']).toContain(first.moves);
      expect(second.moves).toBe(first.moves);
    } finally {
      Reflect.deleteProperty(device, 'createBuffer');
    }
  });

  it('says so when one layer does not fit a binding', async () => {
    const layout = oddLayout({ blockSize: 1024, deviceBlocks: 2 ** 23 });
    const tooLarge = expect.objectContaining({ code: 'PLANE_TOO_LARGE' });
    await expect(WebGpuCache.create(device, { layout })).rejects.toEqual(tooLarge);
  });

  it('says so when the device has no room', async () => {
    const broke = await requestDevice();
    const create = broke.createBuffer.bind(broke);
    Object.defineProperty(broke, 'createBuffer', {
      value: (descriptor: GPUBufferDescriptor) => create({ ...descriptor, size: 2 ** 50 }),
    });
    const noRoom = expect.objectContaining({ code: 'OUT_OF_DEVICE_MEMORY' });
    await expect(WebGpuCache.create(broke, { layout: oddLayout(SIZE) })).rejects.toEqual(noRoom);
    broke.destroy();
  });

  it('ends the work as failed when there is no host tier to move to', async () => {
    const layout = oddLayout({ blockSize: 4, deviceBlocks: 4 });
    using cache = await WebGpuCache.create(device, { layout });
    const work = new FakeWork({ offloads: [[0, 0, 0]] });
    const outOfRange = expect.objectContaining({ code: 'OUT_OF_RANGE' });
    await expect(cache.execute(work)).rejects.toEqual(outOfRange);
    expect(work.events).toEqual(['begin', 'failed']);
  });

  it('shows NaN in blocks that were poisoned, and nowhere else', async () => {
    using cache = await WebGpuCache.create(device, { layout: oddLayout(SIZE) });
    await poisonBlocks(cache, 0, [2]);
    const poisoned = new Float32Array((await cache.readBlock(0, 1, 2)).buffer);
    expect(poisoned.every(Number.isNaN)).toBe(true);
    expect((await cache.readBlock(0, 1, 3)).every((byte) => byte === 0)).toBe(true);
  });

  it('refuses to work once destroyed', async () => {
    const cache = await WebGpuCache.create(device, { layout: oddLayout(SIZE) });
    cache.destroy();
    cache.destroy();
    const destroyed = expect.objectContaining({ code: 'CACHE_DESTROYED' });
    await expect(cache.execute(new FakeWork())).rejects.toEqual(destroyed);
  });

  it('reports a lost device from the next execution, and leaves the work unbegun', async () => {
    const doomed = await requestDevice();
    const cache = await WebGpuCache.create(doomed, { layout: oddLayout(SIZE) });
    doomed.destroy();
    await doomed.lost;
    const work = new FakeWork();
    const lost = expect.objectContaining({ code: 'DEVICE_LOST' });
    await expect(cache.execute(work)).rejects.toEqual(lost);
    expect(work.events).toEqual([]);
  });

  it('ends work as failed when the device is lost under it', async () => {
    const doomed = await requestDevice();
    const cache = await WebGpuCache.create(doomed, { layout: oddLayout(SIZE) });
    const work = new FakeWork({ offloads: [[0, 0, 0]] });
    const execution = cache.execute(work);
    doomed.destroy();
    const lost = expect.objectContaining({ code: 'DEVICE_LOST' });
    await expect(execution).rejects.toEqual(lost);
    expect(work.events).toEqual(['begin', 'failed']);
  });
});
