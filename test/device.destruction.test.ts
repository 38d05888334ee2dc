/** GPU devices that go while blocks are on their way: native code must not read what was mapped. */
import { expect, it, vi } from 'vitest';
import { HostArena } from '../src/device/arena.js';
import { beforeDestroy } from '../src/device/before-destroy.js';
import { requestDevice, WebGpuCache } from '../src/device/webgpu.js';
import { FakeWork, modelLayout } from './device.fakes.js';
import { describeOnGpu } from './device.gpu.js';

/** 128 blocks of 1 MiB, in one staging buffer: smaller ones are not unmapped at once. */
const MODEL = { layers: 4, kvHeads: 8, headDim: 64, dtype: 'f32' } as const;
const SIZE = { blockSize: 64, deviceBlocks: 128, hostBlocks: 128 };

await describeOnGpu('a device that is destroyed', () => {
  it('while native threads read what it has mapped fails the transfer, no more', async () => {
    const doomed = await requestDevice();
    const layout = modelLayout(MODEL, SIZE);
    const cache = await WebGpuCache.create(doomed, { layout }, { stagingBytes: 2 ** 27 });
    // eslint-disable-next-line @typescript-eslint/unbound-method -- it is called on the arena
    const { store } = HostArena.prototype;
    const spy = vi.spyOn(HostArena.prototype, 'store').mockImplementation(function (
      this: HostArena,
      ...move
    ) {
      const stored = store.apply(this, move);
      doomed.destroy();
      return stored;
    });
    const blocks = [...Array(SIZE.deviceBlocks).keys()];
    const work = new FakeWork({ offloads: blocks.map((b) => [0, b, b] as const) });
    await expect(cache.execute(work)).rejects.toEqual(
      expect.objectContaining({ code: 'DEVICE_LOST' }),
    );
    spy.mockRestore();
    expect(work.events).toEqual(['begin', 'failed']);
    cache.destroy();
  });

  it('lets everyone who uses it finish first, but for those who are done with it', async () => {
    const doomed = await requestDevice();
    const waits: string[] = [];
    beforeDestroy(doomed, () => waits.push('first'));
    const undo = beforeDestroy(doomed, () => waits.push('second'));
    beforeDestroy(doomed, () => waits.push('third'));
    undo();
    doomed.destroy();
    expect(waits).toEqual(['first', 'third']);
    expect((await doomed.lost).reason).toBe('destroyed');
  });
});
