import { describe, expect, it } from 'vitest';
import type { Attention, KvCacheManager, Sequence } from '../src/index.js';
import {
  flashInferMetadata,
  pagedAttentionMetadata,
  tvmMetadata,
  vllmMetadata,
  type TvmArrays,
} from '../src/metadata/index.js';
import { BLOCK, coded, ids, mustSchedule, openComputed, smallManager } from './api.helpers.js';
import { describeOnGpu, download } from './device.gpu.js';
import { Random, replay } from './device.random.js';
import { Naive } from './metadata.naive.js';

const PLACES = 6;
const WIDTH = 16;
const TOKENS = 64;
const ints = (length: number): Int32Array => new Int32Array(length);

/** Every contract, following the same manager. */
function followers(kv: KvCacheManager) {
  const dense = {
    blockTable: ints(PLACES * WIDTH),
    cumulativeSequenceLength: ints(PLACES + 1),
    pastSeqlens: ints(PLACES),
    slotMapping: ints(TOKENS),
    attentionMetadata: ints(2),
  };
  const vllm = {
    blockTable: ints(PLACES * WIDTH),
    queryStartLoc: ints(PLACES + 1),
    seqLens: ints(PLACES),
    slotMapping: new BigInt64Array(TOKENS),
  };
  const flash = {
    qoIndptr: ints(PLACES + 1),
    pagedKvIndptr: ints(PLACES + 1),
    pagedKvIndices: ints(PLACES * WIDTH),
    pagedKvLastPageLen: ints(PLACES),
  };
  const tvm: TvmArrays = {
    qoIndptr: ints(PLACES + 1),
    pageIndptr: ints(PLACES + 1),
    pageValues: ints(PLACES * WIDTH),
    lengthInfo: ints(PLACES),
    kRopePosOffset: ints(PLACES).fill(7),
    qRopePositionMap: ints(TOKENS),
    appendPositionMap: ints(TOKENS),
  };
  const all = [
    pagedAttentionMetadata(kv, dense),
    vllmMetadata(kv, vllm),
    flashInferMetadata(kv, flash),
    tvmMetadata(kv, tvm),
  ] as const;
  const update = (attention: Attention): void => {
    for (const each of all) each.update(attention);
  };
  return { dense, vllm, flash, tvm, all, update };
}

type Followers = ReturnType<typeof followers>;

/** The leading elements, as many as are expected. */
function expectHead(array: Int32Array | BigInt64Array, expected: readonly number[]): void {
  expect(Array.from(array.subarray(0, expected.length), Number)).toEqual(expected);
}

function expectRight(kv: KvCacheManager, attention: Attention, follow: Followers): void {
  const naive = new Naive(attention, kv.layout);
  const { dense, vllm, flash, tvm } = follow;
  expectHead(dense.blockTable, naive.table(WIDTH, -1));
  expectHead(dense.cumulativeSequenceLength, naive.starts);
  expectHead(dense.pastSeqlens, naive.past);
  expectHead(dense.slotMapping, naive.slots);
  expectHead(dense.attentionMetadata, naive.bounds);
  expectHead(vllm.blockTable, naive.table(WIDTH, 0));
  expectHead(vllm.queryStartLoc, naive.starts);
  expectHead(vllm.seqLens, naive.totals);
  expectHead(vllm.slotMapping, naive.slots);
  expectHead(flash.qoIndptr, naive.starts);
  expectHead(flash.pagedKvIndptr, naive.blockStarts);
  expectHead(flash.pagedKvIndices, naive.blocks.flat());
  expectHead(flash.pagedKvLastPageLen, naive.lastLengths);
  expectHead(tvm.pageIndptr, naive.blockStarts);
  expectHead(tvm.pageValues, naive.blocks.flat());
  expectHead(tvm.lengthInfo, naive.lastLengths);
  expectHead(tvm.kRopePosOffset, naive.past.fill(0));
  expectHead(tvm.qRopePositionMap, naive.positions);
  expectHead(tvm.appendPositionMap, naive.slots);
}

/** Steps over sequences that come, fork, shrink, go and change places; now and then one is not followed. */
class Traffic {
  readonly #kv: KvCacheManager;
  readonly #random: Random;
  readonly #follow: Followers;
  #sequences: Sequence[] = [];

  constructor(kv: KvCacheManager, random: Random, follow: Followers) {
    this.#kv = kv;
    this.#random = random;
    this.#follow = follow;
  }

  get #ids(): Uint32Array {
    return ids(this.#random.integer(1, 14), this.#random.integer(0, 2));
  }

  change(): void {
    const random = this.#random;
    const sequence = this.#sequences.length > 0 ? random.pick(this.#sequences) : undefined;
    const what = random.integer(0, 5);
    if (sequence === undefined || (what < 2 && this.#sequences.length < 7)) {
      this.#sequences.push(this.#kv.open(this.#ids));
    } else if (what === 2 && this.#sequences.length < 7) {
      this.#sequences.push(sequence.fork());
    } else if (what === 3) {
      sequence.truncate(random.integer(0, sequence.length));
    } else if (what === 4 || sequence.length > 40) {
      sequence.close();
      this.#sequences = this.#sequences.filter((each) => each !== sequence);
    } else if (what === 5) {
      random.shuffle(this.#sequences);
    }
    if (random.integer(0, 9) === 0) this.#prefetch();
  }

  step(): void {
    const random = this.#random;
    const fits = this.#sequences.filter(({ length }) => length <= 50);
    const batch = fits.slice(0, random.integer(1, PLACES));
    if (batch.length === 0) return;
    const tokens = (): Uint32Array =>
      random.integer(0, 2) > 0 ? ids(1) : this.#ids.subarray(0, 9);
    const step = this.#kv.schedule(batch.map((sequence) => ({ sequence, tokens: tokens() })));
    if (!step.ok) return;
    const isFollowed = random.integer(0, 4) > 0;
    if (isFollowed) {
      this.#follow.update(step.attention);
      expectRight(this.#kv, step.attention, this.#follow);
    }
    if (random.integer(0, 5) === 0) step.abort();
    else step.commit();
  }

  #prefetch(): void {
    const step = this.#kv.prefetch(this.#ids);
    if (step.ok) step.commit();
  }
}

describe('metadata', () => {
  it(`is what each contract says of every step, whatever came between (${replay})`, () => {
    const random = new Random('metadata');
    for (let program = 0; program < 20; program++) {
      using kv = smallManager({ device: { blocks: 24 } });
      const traffic = new Traffic(kv, random, followers(kv));
      for (let i = 0; i < 150; i++) {
        traffic.change();
        traffic.step();
      }
    }
  });

  it('follows two steps that are scheduled ahead, each in its turn', () => {
    using kv = smallManager();
    const follow = followers(kv);
    const sequence = kv.open(ids(BLOCK));
    const first = mustSchedule(kv, [{ sequence, tokens: ids(BLOCK) }]);
    const second = mustSchedule(kv, [{ sequence, tokens: 2 }]);
    for (const step of [first, second]) {
      follow.update(step.attention);
      expectRight(kv, step.attention, follow);
    }
  });

  it('touches nothing of a step that does not fit', () => {
    using kv = smallManager();
    const arrays = {
      blockTable: ints(2 * 2),
      cumulativeSequenceLength: ints(3),
      pastSeqlens: ints(2),
      slotMapping: ints(8),
    };
    const metadata = pagedAttentionMetadata(kv, arrays, { pad: 9 });
    const before = structuredClone(arrays);
    const open = (length: number): Sequence => kv.open(ids(length, 100 * length));
    const tooLong = mustSchedule(kv, [{ sequence: open(9), tokens: ids(8) }]);
    tooLong.abort();
    const attempts = [
      [open(9), ids(9, 900)],
      [open(3), ids(3, 300), open(4), ids(1, 400), open(5), ids(1, 500)],
    ] as const;
    for (const attempt of attempts) {
      const entries = [];
      for (let i = 0; i < attempt.length; i += 2) {
        entries.push({ sequence: attempt[i] as Sequence, tokens: attempt[i + 1] as Uint32Array });
      }
      const step = mustSchedule(kv, entries);
      expect(() => {
        metadata.update(step.attention);
      }).toThrow(coded('METADATA_TOO_SMALL'));
      expect(arrays).toEqual(before);
      step.abort();
    }
  });

  it.each([
    ['an array that is missing', { blockTable: ints(4) }, {}, 'INVALID_OPTION'],
    ['an array of another kind', { blockTable: new Uint32Array(4) }, {}, 'INVALID_OPTION'],
    ['a name that is none', { blocktable: ints(4) }, {}, 'UNKNOWN_OPTION'],
    ['a pad that is no int32', {}, { pad: 2 ** 31 }, 'INVALID_OPTION'],
    ['a group that is none', {}, { group: 'window' }, 'INVALID_OPTION'],
    ['no row for a sequence', { blockTable: ints(1) }, {}, 'INVALID_OPTION'],
    ['no place for a sequence', { cumulativeSequenceLength: ints(1) }, {}, 'INVALID_OPTION'],
  ] as const)('refuses %s', (what, wrong, options, code) => {
    using kv = smallManager();
    const right = {
      blockTable: ints(8),
      cumulativeSequenceLength: ints(3),
      pastSeqlens: ints(2),
    };
    const given = what.includes('missing') ? wrong : { ...right, ...wrong };
    expect(() => pagedAttentionMetadata(kv, given as typeof right, options)).toThrow(coded(code));
  });

  it('tells what it has written, once', () => {
    using kv = smallManager();
    const { dense, all } = followers(kv);
    const [metadata] = all;
    metadata.takeChanges(() => undefined);
    metadata.update(mustDecode(kv, openComputed(kv, ids(BLOCK))));
    const told: Record<string, number[]> = {};
    metadata.takeChanges((name, begin, end) => {
      told[name] = [begin, end];
    });
    expect(told).toEqual({
      blockTable: [0, 2],
      cumulativeSequenceLength: [0, 2],
      pastSeqlens: [0, 1],
      slotMapping: [0, 1],
      attentionMetadata: [0, 2],
    });
    expect(dense.attentionMetadata).toEqual(Int32Array.of(1, BLOCK + 1));
    metadata.takeChanges((name) => {
      throw new Error(name);
    });
  });

  it('writes no cell of a block table that did not change', () => {
    using kv = smallManager();
    const follow = followers(kv);
    const chat = openComputed(kv, ids(BLOCK + 1));
    const tables = follow.dense.blockTable;
    follow.update(mustDecode(kv, chat));
    tables.fill(77);
    follow.update(mustDecode(kv, chat));
    expect(tables.every((cell) => cell === 77)).toBe(true);
  });
});

/** The attention of one more token, committed. */
function mustDecode(kv: KvCacheManager, sequence: Sequence): Attention {
  const step = mustSchedule(kv, [{ sequence, tokens: ids(1) }]);
  const { attention } = step;
  step.commit();
  return attention;
}

await describeOnGpu('metadata on a GPU', (device) => {
  it('is uploaded as far as it changed, and no further', async () => {
    using kv = smallManager();
    const { flash, dense, all } = followers(kv);
    const [paged, , flashInfer] = all;
    const bufferOf = (array: Int32Array): GPUBuffer =>
      device.createBuffer({ size: array.byteLength, usage: 0x0004 | 0x0008 });
    const buffersOf = <Name extends string>(arrays: Record<Name, Int32Array>) =>
      Object.fromEntries(
        Object.entries<Int32Array>(arrays).map(([name, array]) => [name, bufferOf(array)]),
      ) as Record<Name, GPUBuffer>;
    const [pagedBuffers, flashBuffers] = [buffersOf(dense), buffersOf(flash)];
    const chats = [openComputed(kv, ids(9)), openComputed(kv, ids(6, 50))];
    for (let i = 0; i < 12; i++) {
      const step = mustSchedule(
        kv,
        chats.map((sequence) => ({ sequence, tokens: ids(1) })),
      );
      paged.update(step.attention);
      flashInfer.update(step.attention);
      const bytes = paged.upload(device.queue, pagedBuffers);
      flashInfer.upload(device.queue, flashBuffers);
      if (i > 0) expect(bytes).toBeLessThanOrEqual(4 * (3 + 2 + 2 + 2 + WIDTH + 2));
      step.commit();
    }
    const arraysAndBuffers = [
      [dense, pagedBuffers],
      [flash, flashBuffers],
    ] as const;
    for (const [arrays, buffers] of arraysAndBuffers) {
      for (const [name, array] of Object.entries<Int32Array>(arrays)) {
        const buffer = buffers[name as keyof typeof buffers] as GPUBuffer;
        const bytes = await download(device, buffer);
        const used = name.endsWith('ndices') ? flash.pagedKvIndptr[2]! : array.length;
        expect(new Int32Array(bytes).subarray(0, used)).toEqual(array.subarray(0, used));
        buffer.destroy();
      }
    }
  });
});
