import { expect, it } from 'vitest';
import { HostArena } from '../src/device/arena.js';
import { oddLayout } from './device.fakes.js';
import { Random } from './device.random.js';

const BLOCK = 4 * (64 + 256 + 4);

/** The host tier in arrays of three blocks each. */
function arena(): HostArena {
  const layout = oddLayout({ blockSize: 4, deviceBlocks: 1, hostBlocks: 8 });
  return new HostArena(layout, 3 * BLOCK + 1);
}

it('the host tier stores a run of blocks across the arrays it consists of', () => {
  const host = arena();
  const bytes = new Random('arena').bytes(6 * BLOCK + 10);
  host.store(0, 1, 6, bytes, 10);
  for (let i = 0; i < 6; i++) {
    const record = bytes.subarray(10 + i * BLOCK, 10 + (i + 1) * BLOCK);
    expect(Buffer.compare(host.block(0, 1 + i), record)).toBe(0);
  }
  expect(host.block(0, 0).every((byte) => byte === 0)).toBe(true);
  expect(host.block(0, 7).every((byte) => byte === 0)).toBe(true);
});

it('the host tier uploads a run of blocks in one piece an array', () => {
  const host = arena();
  const writes: number[][] = [];
  const queue = {
    writeBuffer: (_: GPUBuffer, to: number, __: Uint8Array, from: number, size: number) => {
      writes.push([to, from, size]);
    },
  };
  host.upload(queue as unknown as GPUQueue, 0, 2, 5, {} as GPUBuffer, 40);
  expect(writes).toEqual([
    [40, 2 * BLOCK, BLOCK],
    [40 + BLOCK, 0, 3 * BLOCK],
    [40 + 4 * BLOCK, 0, BLOCK],
  ]);
});

it('touching the host tier leaves it zeroed', async () => {
  const host = arena();
  await host.touch();
  expect(host.block(1, 7).every((byte) => byte === 0)).toBe(true);
});
