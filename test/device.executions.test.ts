import { expect, it } from 'vitest';
import { requestDevice, WebGpuCache, type TransferPiece } from '../src/device/webgpu.js';
import type { Execution } from '../src/plan.js';
import { ids, mustSchedule, openComputed, smallManager } from './api.helpers.js';
import { FakeWork, modelLayout, oddLayout } from './device.fakes.js';
import { attentionOf, Gate, stateOf, turn } from './device.gate.js';
import { describeOnGpu } from './device.gpu.js';
import { Random } from './device.random.js';

const SIZE = { blockSize: 4, deviceBlocks: 24, hostBlocks: 24 };
const BLOCK = 4 * 64;

const failed = (code: string): unknown => expect.objectContaining({ code });

await describeOnGpu('executions under way', (device) => {
  const layout = oddLayout(SIZE);

  async function gated(options = {}): Promise<{ cache: WebGpuCache; gate: Gate }> {
    const gate = new Gate();
    const { intercept } = gate;
    const cache = await WebGpuCache.create(device, { layout }, { ...options, intercept });
    return { cache, gate };
  }

  const hostBlock = (cache: WebGpuCache, block: number) => cache.readBlock(0, 0, block, 'host');
  const zeros = new Uint8Array(BLOCK);

  it('may submit their pass before the offloaded bytes have landed, and end after that', async () => {
    const { cache, gate } = await gated();
    const bytes = new Random('landing').bytes(BLOCK);
    await cache.writeBlock(0, 0, 3, bytes);
    const work = new FakeWork({ offloads: [[0, 3, 7]] }, attentionOf(layout, 1));
    const execution = cache.execute(work);
    await execution.submitted;
    await cache.writeBlock(0, 0, 3, zeros); // as the pass may
    await gate.holds(1);
    expect(work.events).toEqual(['begin']);
    expect(await hostBlock(cache, 7)).toEqual(zeros);
    gate.open();
    await execution;
    expect(work.events).toEqual(['begin', 'done']);
    expect(await hostBlock(cache, 7)).toEqual(bytes);
    cache.destroy();
  });

  it('tell how long what comes back kept the pass, and how long a swap-out took', async () => {
    using cache = await WebGpuCache.create(device, { layout });
    const timesOf = async (work: FakeWork): Promise<readonly string[]> => {
      await cache.execute(work);
      const times = Object.entries(work.times ?? {});
      expect(times.every(([, time]) => time > 0)).toBe(true);
      return times.map(([way]) => way);
    };
    const pass = attentionOf(layout, 1);
    const both = { offloads: [[0, 3, 7]], onboards: [[0, 5, 9]] } as const;
    expect(await timesOf(new FakeWork(both, pass))).toEqual(['onboard']);
    expect(await timesOf(new FakeWork({ offloads: [[0, 3, 7]] }))).toEqual(['offload']);
    expect(await timesOf(new FakeWork({ offloads: [[0, 3, 7]] }, pass))).toEqual([]);
  });

  it('go on beside a swap-out', async () => {
    const { cache, gate } = await gated({ stagingBytes: 4 * (64 + 256 + 4) });
    const many = Array.from({ length: 20 }, (_, i) => [0, i, i] as const);
    const swapOut = cache.execute(new FakeWork({ offloads: many }));
    const step = new FakeWork({ copies: [[0, 21, 22, 4]] }, attentionOf(layout, 1));
    await cache.execute(step);
    expect(step.events).toEqual(['begin', 'done']);
    await gate.openUntil(swapOut);
    cache.destroy();
  });

  it('go on beside a prefetch, but for those that read what it brings', async () => {
    const { cache, gate } = await gated();
    const bytes = new Random('prefetch').bytes(BLOCK);
    await cache.writeBlock(0, 0, 5, bytes, 'host');
    const prefetch = cache.execute(new FakeWork({ onboards: [[0, 5, 9]] }, attentionOf(layout, 0)));
    await gate.holds(1);
    const beside = new FakeWork({}, attentionOf(layout, 1, 8));
    await cache.execute(beside);
    expect(beside.events).toEqual(['begin', 'done']);
    const reader = cache.execute(new FakeWork({}, attentionOf(layout, 1, 9)));
    expect(await stateOf(reader.submitted)).toBe('pending');
    gate.open();
    await Promise.all([prefetch, reader]);
    expect(await cache.readBlock(0, 0, 9)).toEqual(bytes);
    cache.destroy();
  });

  it('leave the tables of a step as they are when they prefetch', async () => {
    using cache = await WebGpuCache.create(device, { layout });
    await cache.execute(new FakeWork({}, attentionOf(layout, 1)));
    await cache.execute(new FakeWork({ onboards: [[0, 5, 9]] }, attentionOf(layout, 0)));
    expect(cache.tables.tokens).toBe(1);
  });

  it('take for a prefetch what a manager plans as one', async () => {
    using kv = smallManager({ host: { blocks: 16 } });
    using cache = await WebGpuCache.create(device, kv);
    const prompt = ids(16);
    openComputed(kv, prompt).close();
    await cache.execute(kv.demote(prompt));
    const step = mustSchedule(kv, [{ sequence: kv.open([77, 78]), tokens: [77, 78] }]);
    const prefetch = kv.prefetch(prompt);
    if (!prefetch.ok) throw new Error('out of blocks');
    expect(prefetch.moves.onboards).toHaveLength(4 * 3);
    await Promise.all([cache.execute(step), cache.execute(prefetch)]);
    expect(cache.tables.tokens).toBe(2);
  });

  it('fail with the prefetch that they read', async () => {
    const { cache, gate } = await gated();
    const prefetch = cache.execute(new FakeWork({ onboards: [[0, 5, 9]] }, attentionOf(layout, 0)));
    await gate.holds(1);
    const work = new FakeWork({}, attentionOf(layout, 1, 9));
    const results = Promise.allSettled([prefetch, cache.execute(work)]);
    gate.open(new Error('made to fail'));
    expect((await results).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(work.events).toEqual(['begin', 'failed']);
    cache.destroy();
  });

  it('wait for bytes of another that have not landed before they bring them back', async () => {
    const { cache, gate } = await gated();
    const bytes = new Random('back').bytes(BLOCK);
    await cache.writeBlock(0, 0, 3, bytes);
    const out = cache.execute(new FakeWork({ offloads: [[0, 3, 7]] }));
    const back = cache.execute(new FakeWork({ onboards: [[0, 7, 5]] }));
    await gate.holds(1);
    expect(await stateOf(back.submitted)).toBe('pending');
    expect(gate.held.map(({ piece }) => piece.direction)).toEqual(['offload']);
    gate.open();
    await gate.holds(1);
    gate.open();
    await Promise.all([out, back]);
    expect(await cache.readBlock(0, 0, 5)).toEqual(bytes);
    cache.destroy();
  });

  it.each(['offloads', 'onboards'] as const)(
    'end as failed once their %s are cancelled',
    async (way) => {
      const { cache, gate } = await gated();
      const bytes = new Random('cancelled').bytes(BLOCK);
      await cache.writeBlock(0, 0, 3, bytes, way === 'offloads' ? 'device' : 'host');
      const work = new FakeWork({ [way]: [[0, 3, 7]] }, attentionOf(layout, 1));
      const execution = cache.execute(work);
      await gate.holds(1);
      execution.cancel();
      gate.open();
      await expect(execution).rejects.toEqual(failed('EXECUTION_CANCELLED'));
      expect(work.events).toEqual(['begin', 'failed']);
      const tier = way === 'offloads' ? 'host' : 'device';
      expect(await cache.readBlock(0, 0, 7, tier)).toEqual(zeros);
      execution.cancel();
      const again = cache.execute(new FakeWork({ [way]: [[0, 3, 7]] }));
      await gate.holds(1);
      gate.open();
      await again;
      expect(await cache.readBlock(0, 0, 7, tier)).toEqual(bytes);
      cache.destroy();
    },
  );

  it('submit nothing that overwrites what is still to be gathered', async () => {
    const { cache, gate } = await gated({ stagingBytes: 4 * (64 + 256 + 4) });
    const bytes = new Random('overwritten').bytes(BLOCK);
    await cache.writeBlock(0, 0, 19, bytes);
    const offloads = Array.from({ length: 20 }, (_, i) => [0, i, i] as const);
    const plan = { offloads, onboards: [[0, 22, 19] as const] };
    const execution = cache.execute(new FakeWork(plan, attentionOf(layout, 1)));
    const isOut = ({ piece }: { piece: TransferPiece }): boolean => piece.direction === 'offload';
    await gate.holds(5);
    gate.held
      .splice(
        gate.held.findIndex((each) => !isOut(each)),
        1,
      )[0]!
      .go();
    expect(await stateOf(execution.submitted)).toBe('pending');
    await gate.openUntil(execution);
    expect(await hostBlock(cache, 19)).toEqual(bytes);
    expect(await cache.readBlock(0, 0, 19)).toEqual(zeros);
    cache.destroy();
  });

  it('end as failed only when none of their pieces is at work any more', async () => {
    const { cache, gate } = await gated();
    const plan = { offloads: [[0, 3, 7] as const], onboards: [[0, 9, 5] as const] };
    const work = new FakeWork(plan, attentionOf(layout, 1));
    const execution = cache.execute(work);
    const end = expect(execution).rejects.toThrow('made to fail');
    await gate.holds(2);
    gate.held.find(({ piece }) => piece.direction === 'onboard')!.go(new Error('made to fail'));
    expect(await stateOf(execution.catch(() => undefined))).toBe('pending');
    expect(work.events).toEqual(['begin']);
    gate.held.find(({ piece }) => piece.direction === 'offload')!.go();
    await end;
    expect(work.events).toEqual(['begin', 'failed']);
    cache.destroy();
  });

  it('leave work that was cancelled before its turn as it was', async () => {
    const { cache, gate } = await gated();
    const first = cache.execute(new FakeWork({ onboards: [[0, 5, 9]] }, attentionOf(layout, 1)));
    const work = new FakeWork({}, attentionOf(layout, 1));
    const second = cache.execute(work);
    second.cancel();
    await gate.holds(1);
    gate.open();
    await first;
    await expect(second).rejects.toEqual(failed('EXECUTION_CANCELLED'));
    expect(work.events).toEqual([]);
    cache.destroy();
  });

  it('stop at the first piece that fails, and leave every staging buffer usable', async () => {
    const { cache, gate } = await gated({ stagingBytes: 4 * (64 + 256 + 4) });
    const many = Array.from({ length: 20 }, (_, i) => [0, i, i] as const);
    for (const way of ['offloads', 'onboards'] as const) {
      const work = new FakeWork({ [way]: many }, attentionOf(layout, 1));
      const execution = cache.execute(work);
      await gate.holds(2);
      gate.open(new Error('made to fail'));
      await expect(gate.openUntil(execution)).rejects.toThrow('made to fail');
      expect(work.events).toEqual(['begin', 'failed']);
    }
    await gate.openUntil(cache.execute(new FakeWork({ offloads: many, onboards: [[0, 23, 23]] })));
    cache.destroy();
  });

  it('move the first layers first, and tell when a layer has arrived', async () => {
    const model = { layers: 6, kvHeads: 1, headDim: 8, dtype: 'f32' } as const;
    const layered = modelLayout(model, SIZE);
    const layerBytes = 2 * 4 * 8 * 4;
    const gate = new Gate();
    const { intercept } = gate;
    const options = { stagingBytes: 20 * layerBytes, intercept };
    using cache = await WebGpuCache.create(device, { layout: layered }, options);
    const random = new Random('layers');
    const bytes = Array.from({ length: 12 }, () => random.bytes(4 * 8 * 4));
    for (const [p, each] of bytes.entries()) await cache.writeBlock(0, p, 4, each, 'host');
    const onboards = Array.from({ length: 10 }, (_, i) => [0, i, i] as const);
    const plan = { onboards, copies: [[0, 4, 20, 3] as const] };
    const execution = cache.execute(new FakeWork(plan, attentionOf(layered, 1)));
    await gate.holds(3);
    gate.held.shift()!.go();
    await execution.layer(1);
    expect(await stateOf(execution.layer(2))).toBe('pending');
    expect(await stateOf(execution.submitted)).toBe('pending');
    expect((await cache.readBlock(0, 3, 4)).toString()).toBe(bytes[3]!.toString());
    expect((await cache.readBlock(0, 3, 20)).subarray(0, 96)).toEqual(bytes[3]!.subarray(0, 96));
    gate.open();
    await execution;
    await execution.layer(5);
    for (const [p, each] of bytes.entries()) {
      expect((await cache.readBlock(0, p, 20)).subarray(0, 96)).toEqual(each.subarray(0, 96));
    }
  });

  it('all settle when the cache is destroyed', async () => {
    const { cache, gate } = await gated({ stagingBytes: 4 * (64 + 256 + 4) });
    const many = Array.from({ length: 20 }, (_, i) => [0, i, i] as const);
    const works = [
      new FakeWork({ offloads: many }),
      new FakeWork({ onboards: [[0, 21, 9]] }, attentionOf(layout, 1)),
      new FakeWork({}, attentionOf(layout, 1)),
    ];
    const executions = works.map((work) => cache.execute(work));
    await gate.holds(2);
    cache.destroy();
    gate.open();
    await expectAllFail(executions, 'CACHE_DESTROYED');
    expect(works.map(({ events }) => events)).toEqual([
      ['begin', 'failed'],
      ['begin', 'failed'],
      [],
    ]);
  });

  it('all settle when the device is lost', async () => {
    const doomed = await requestDevice();
    const { intercept, ...gate } = new Gate();
    const cache = await WebGpuCache.create(doomed, { layout }, { intercept });
    const works = [
      new FakeWork({ offloads: [[0, 1, 1]] }),
      new FakeWork({ onboards: [[0, 2, 9]] }, attentionOf(layout, 1)),
      new FakeWork({}, attentionOf(layout, 1)),
    ];
    const executions = works.map((work) => cache.execute(work));
    doomed.destroy();
    await doomed.lost;
    await turn();
    for (const { go } of gate.held.splice(0)) go();
    await expectAllFail(executions, 'DEVICE_LOST');
    expect(works.map(({ events }) => events.at(-1))).toEqual(['failed', 'failed', undefined]);
    cache.destroy();
  });
});

async function expectAllFail(executions: readonly Execution[], code: string): Promise<void> {
  const refusal = { status: 'rejected', reason: failed(code) };
  expect(await Promise.allSettled(executions)).toEqual(executions.map(() => refusal));
  for (const execution of executions) {
    await expect(execution.submitted).rejects.toEqual(failed(code));
    await expect(execution.layer(0)).rejects.toEqual(failed(code));
  }
}
