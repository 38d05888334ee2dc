import { expect, it } from 'vitest';
import { deferred } from '../src/device/deferred.js';
import { piecesOf } from '../src/device/pieces.js';
import { StagingRing } from '../src/device/staging.js';
import { describeOnGpu } from './device.gpu.js';

const BYTES = 256;

function turn(): Promise<void> {
  return new Promise((resume) => setTimeout(resume, 0));
}

await describeOnGpu('a ring of staging buffers', (device) => {
  it('lends one buffer after another, and goes on once the next one is lent', async () => {
    const ring = new StagingRing(device, 'in', BYTES);
    const events: string[] = [];
    const copies = [deferred(), deferred()];
    const [first, second] = await Promise.all([ring.acquire(), ring.acquire()]);
    const lent = [first, second].map(async (staging, i) => {
      await ring.lend(staging, (bytes) => {
        events.push(`copy ${i} of ${bytes.length}`);
        return copies[i]!.promise;
      });
      events.push(`back ${i}`);
    });
    while (events.length === 0) await turn();
    for (let i = 0; i < 5; i++) await turn();
    expect(events).toEqual([`copy 0 of ${BYTES}`]);
    copies[0]!.resolve();
    await lent[0];
    expect(events).toEqual([`copy 0 of ${BYTES}`, `copy 1 of ${BYTES}`, 'back 0']);
    copies[1]!.resolve();
    await lent[1];
    ring.destroy();
  });

  it('lends on after a copy that failed, and not once it was destroyed', async () => {
    const ring = new StagingRing(device, 'out', BYTES);
    const staging = await ring.acquire();
    const failing = ring.lend(staging, () => {
      throw new Error('made to fail');
    });
    const fine = ring.lend(await ring.acquire(), () => undefined);
    await expect(failing).rejects.toThrow('made to fail');
    await fine;
    ring.destroy();
    const late = ring.lend(await ring.acquire(), () => undefined);
    await expect(late).rejects.toThrow('destroyed');
  });
});

it('pieces begin small and double, with one block at least, up to the largest', () => {
  const stage = [{ first: 0, end: 1, offset: 0, bytes: 100 }];
  const moves = new Uint32Array(30 * 3);
  const sizes = (firstBytes?: number): number[] =>
    [...piecesOf(moves, stage, 850, 1000, firstBytes)].map(({ first, end }) => end - first);
  expect(sizes()).toEqual([8, 8, 8, 6]);
  expect(sizes(200)).toEqual([2, 4, 8, 8, 8]);
  expect(sizes(60)).toEqual([1, 1, 2, 4, 8, 8, 6]);
});
