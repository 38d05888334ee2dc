import { describe, expect, it } from 'vitest';
import { HostArena } from '../src/device/arena.js';
import { oddLayout } from './device.fakes.js';
import { Random, replay } from './device.random.js';

const BLOCK = 4 * (64 + 256 + 4);
const HOST_BLOCKS = 8;

/** The host tier, seen through arrays of three blocks each. */
function makeArena(hostBlocks = HOST_BLOCKS): HostArena {
  const layout = oddLayout({ blockSize: 4, deviceBlocks: 1, hostBlocks });
  return new HostArena(layout, { slabBytes: 3 * BLOCK + 1 });
}

/** Records of group 0 that name `hosts` as targets and as sources. */
function movesTo(hosts: readonly number[]): Uint32Array {
  return Uint32Array.from(hosts.flatMap((host) => [0, host, host]));
}

function recordOf(bytes: Uint8Array, index: number): Uint8Array {
  return bytes.subarray(index * BLOCK, (index + 1) * BLOCK);
}

describe(`the host tier (${replay})`, () => {
  it('stores packed records in the blocks that moves name, wherever these lie', async () => {
    const arena = makeArena();
    const hosts = [1, 2, 3, 4, 7, 6];
    const bytes = new Random('arena').bytes(hosts.length * BLOCK);
    await arena.store(movesTo(hosts), 0, hosts.length, bytes);
    for (const [i, host] of hosts.entries()) {
      expect(Buffer.compare(arena.block(0, host), recordOf(bytes, i))).toBe(0);
    }
    for (const host of [0, 5]) {
      expect(arena.block(0, host).every((byte) => byte === 0)).toBe(true);
    }
    arena.destroy();
  });

  it('loads the blocks that moves name into packed records', async () => {
    const arena = makeArena();
    const random = new Random('load');
    const hosts = random.permutation(HOST_BLOCKS);
    for (const host of hosts) arena.block(0, host).set(random.bytes(BLOCK));
    const bytes = new Uint8Array(4 * BLOCK + 1).fill(7);
    await arena.load(movesTo(hosts), 2, 6, bytes);
    for (let i = 0; i < 4; i++) {
      expect(Buffer.compare(recordOf(bytes, i), arena.block(0, hosts[2 + i]!))).toBe(0);
    }
    expect(bytes[4 * BLOCK]).toBe(7);
    arena.destroy();
  });

  it.each([
    ['a block that is not there', [8], 1, BLOCK, 'OUT_OF_RANGE'],
    ['bytes that are too few', [0, 1], 2, 2 * BLOCK - 1, 'INVALID_ARGUMENT'],
    ['more records than there are', [0, 1], 3, 3 * BLOCK, 'INVALID_ARGUMENT'],
  ])('refuses %s, and moves nothing', async (_, hosts, end, length, code) => {
    const arena = makeArena();
    const bytes = new Uint8Array(length).fill(1);
    const refused = expect.objectContaining({ code });
    await expect(arena.store(movesTo(hosts), 0, end, bytes)).rejects.toEqual(refused);
    await expect(arena.load(movesTo(hosts), 0, end, bytes)).rejects.toEqual(refused);
    expect(arena.block(0, 0).every((byte) => byte === 0)).toBe(true);
    expect(bytes.every((byte) => byte === 1)).toBe(true);
    arena.destroy();
  });

  it('refuses records of two groups in one call', async () => {
    const arena = makeArena();
    const moves = Uint32Array.of(0, 0, 0, 1, 1, 1);
    await expect(arena.store(moves, 0, 2, new Uint8Array(4 * BLOCK))).rejects.toEqual(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    arena.destroy();
  });

  it('is refused before anything is allocated where the machine has no room for it', () => {
    expect(() => makeArena(2 ** 36)).toThrow(expect.objectContaining({ code: 'OUT_OF_MEMORY' }));
  });

  it('stores and loads parts of each record', async () => {
    const arena = makeArena();
    // The first plane of both records, then the second.
    const parts = [
      { near: 0, bytes: 256, plane: 0 },
      { near: 512, bytes: 1024, plane: 1 },
    ];
    const bytes = new Random('part').bytes(2 * (256 + 1024));
    await arena.store(movesTo([4, 1]), 0, 2, bytes, parts);
    const record = arena.block(0, 1);
    expect(Buffer.compare(record.subarray(0, 256), bytes.subarray(256, 512))).toBe(0);
    expect(Buffer.compare(record.subarray(256, 1280), bytes.subarray(512 + 1024))).toBe(0);
    expect(record.subarray(1280).every((byte) => byte === 0)).toBe(true);
    const back = new Uint8Array(bytes.length);
    await arena.load(movesTo([4, 1]), 0, 2, back, parts);
    expect(Buffer.compare(back, bytes)).toBe(0);
    arena.destroy();
  });

  it('keeps what is stored while its memory is touched', async () => {
    const arena = makeArena(2 ** 15);
    const touched = arena.touch();
    const bytes = new Random('touch').bytes(BLOCK);
    await arena.store(movesTo([2 ** 15 - 1]), 0, 1, bytes);
    await touched;
    expect(Buffer.compare(arena.block(0, 2 ** 15 - 1), bytes)).toBe(0);
    expect(arena.block(1, 7).every((byte) => byte === 0)).toBe(true);
    arena.destroy();
  });

  it('can be destroyed while its memory is touched, and while blocks are stored', async () => {
    const arena = makeArena(2 ** 15);
    const touched = arena.touch();
    const stored = arena.store(movesTo([3]), 0, 1, new Uint8Array(BLOCK));
    arena.destroy();
    await Promise.all([touched, stored]);
    await expect(arena.store(movesTo([3]), 0, 1, new Uint8Array(BLOCK))).rejects.toEqual(
      expect.objectContaining({ code: 'CACHE_DESTROYED' }),
    );
  });
});
