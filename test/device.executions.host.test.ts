/** Executions under way in host memory: in which order they move, and how they end. */
import { describe, expect, it } from 'vitest';
import { HostCache, type HostCacheOptions } from '../src/device/host.js';
import { FakeWork, oddLayout } from './device.fakes.js';
import { attentionOf, Gate, stateOf } from './device.gate.js';
import { Random } from './device.random.js';

const SIZE = { blockSize: 4, deviceBlocks: 24, hostBlocks: 24 };
const BLOCK = 4 * 64;
const RECORD = 4 * (64 + 256 + 4);
const MANY = Array.from({ length: 20 }, (_, i) => [0, i, i] as const);

const layout = oddLayout(SIZE);
const failed = (code: string): unknown => expect.objectContaining({ code });
const zeros = new Uint8Array(BLOCK);

function gated(options: HostCacheOptions = {}): { cache: HostCache; gate: Gate } {
  const gate = new Gate();
  const { intercept } = gate;
  return { cache: new HostCache({ layout }, { ...options, intercept }), gate };
}

describe('executions under way in host memory', () => {
  it('let no pass begin before what it overwrites has been saved', async () => {
    const { cache, gate } = gated();
    const work = new FakeWork({ offloads: [[0, 3, 7]] }, attentionOf(layout, 1));
    const execution = cache.execute(work);
    await gate.holds(1);
    expect(await stateOf(execution.submitted)).toBe('pending');
    gate.open();
    await execution;
    expect(work.events).toEqual(['begin', 'done']);
    cache.destroy();
  });

  it('go on beside a swap-out', async () => {
    const { cache, gate } = gated();
    const out = new FakeWork({ offloads: MANY });
    const swapOut = cache.execute(out);
    const step = new FakeWork({ copies: [[0, 21, 22, 4]] }, attentionOf(layout, 1));
    await cache.execute(step);
    expect([out.events, step.events]).toEqual([['begin'], ['begin', 'done']]);
    await gate.openUntil(swapOut);
    cache.destroy();
  });

  it('go on beside a prefetch, but for those that read what it brings', async () => {
    const { cache, gate } = gated();
    const bytes = new Random('prefetch').bytes(BLOCK);
    await cache.writeBlock(0, 0, 5, bytes, 'host');
    const prefetch = cache.execute(new FakeWork({ onboards: [[0, 5, 9]] }, attentionOf(layout, 0)));
    await gate.holds(1);
    await cache.execute(new FakeWork({}, attentionOf(layout, 1, 8)));
    const reader = cache.execute(new FakeWork({}, attentionOf(layout, 1, 9)));
    expect(await stateOf(reader.submitted)).toBe('pending');
    gate.open();
    await Promise.all([prefetch, reader]);
    expect(await cache.readBlock(0, 0, 9)).toEqual(bytes);
    cache.destroy();
  });

  it('overwrite a block only once it has been saved', async () => {
    const { cache, gate } = gated({ pieceBytes: RECORD });
    const bytes = new Random('overwritten').bytes(BLOCK);
    await cache.writeBlock(0, 0, 19, bytes);
    const plan = { offloads: MANY, onboards: [[0, 22, 19] as const] };
    const execution = cache.execute(new FakeWork(plan, attentionOf(layout, 1)));
    await gate.holds(4);
    expect(gate.held.map(({ piece }) => piece.direction)).toEqual(Array(4).fill('offload'));
    await gate.openUntil(execution);
    expect(await cache.readBlock(0, 0, 19, 'host')).toEqual(bytes);
    expect(await cache.readBlock(0, 0, 19)).toEqual(zeros);
    cache.destroy();
  });

  it.each(['offloads', 'onboards'] as const)(
    'end as failed once their %s are cancelled, and can be tried again',
    async (way) => {
      const { cache, gate } = gated();
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
      const again = cache.execute(new FakeWork({ [way]: [[0, 3, 7]] }));
      await gate.openUntil(again);
      expect(await cache.readBlock(0, 0, 7, tier)).toEqual(bytes);
      cache.destroy();
    },
  );

  it('stop at the first piece that fails, and let others take its place', async () => {
    const { cache, gate } = gated({ pieceBytes: RECORD });
    for (const way of ['offloads', 'onboards'] as const) {
      const work = new FakeWork({ [way]: MANY }, attentionOf(layout, 1));
      const execution = cache.execute(work);
      await gate.holds(4);
      gate.open(new Error('made to fail'));
      await expect(gate.openUntil(execution)).rejects.toThrow('made to fail');
      expect(work.events).toEqual(['begin', 'failed']);
    }
    await gate.openUntil(cache.execute(new FakeWork({ offloads: MANY, onboards: [[0, 23, 23]] })));
    cache.destroy();
  });

  it('all settle when the cache is destroyed', async () => {
    const { cache, gate } = gated({ pieceBytes: RECORD });
    const works = [
      new FakeWork({ offloads: MANY }),
      new FakeWork({ onboards: [[0, 21, 9]] }, attentionOf(layout, 1)),
      new FakeWork({}, attentionOf(layout, 1)),
    ];
    const executions = works.map((work) => cache.execute(work));
    await gate.holds(5);
    cache.destroy();
    gate.open();
    const refusal = { status: 'rejected', reason: failed('CACHE_DESTROYED') };
    expect(await Promise.allSettled(executions)).toEqual(executions.map(() => refusal));
    const begunAndNot = [['begin', 'failed'], ['begin', 'failed'], []];
    expect(works.map(({ events }) => events)).toEqual(begunAndNot);
  });

  it.each([
    ['a size of pieces that is none', { pieceBytes: 0 }, 'INVALID_OPTION', /pieceBytes .* got 0/],
    ['bytes below none', { bytesAtOnce: -1 }, 'INVALID_OPTION', /bytesAtOnce .* got -1/],
    ['an intercept that is none', { intercept: 1 }, 'INVALID_OPTION', /intercept .* got 1/],
    ['a misspelled option', { pieceByte: 1 }, 'UNKNOWN_OPTION', /pieceBytes/],
  ])('are refused %s', (_, options, code, message) => {
    const make = (): HostCache => new HostCache({ layout }, options as HostCacheOptions);
    expect(make).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});
