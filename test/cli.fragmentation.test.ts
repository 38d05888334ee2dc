/** `pagedkv fragmentation`: on cases that can be worked out by hand, and on the figure that it reproduces. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  ADMISSIONS,
  newAdmission,
  type AdmissionName,
} from '../src/cli/fragmentation/admission.js';
import { BuddyAllocator, FirstFitAllocator } from '../src/cli/fragmentation/allocators.js';
import { CONTIGUOUS_SCHEMES, simulateContiguous } from '../src/cli/fragmentation/contiguous.js';
import { generateLengths } from '../src/cli/fragmentation/generator.js';
import { readLengths, type Lengths } from '../src/cli/fragmentation/lengths.js';
import { simulatePaged } from '../src/cli/fragmentation/paged.js';
import { pagedRow, type Row } from '../src/cli/fragmentation/simulate.js';
import type { Shares } from '../src/cli/fragmentation/tally.js';
import { DEFAULT_PREEMPTION_GOAL, newWatermark } from '../src/cli/fragmentation/watermark.js';
import { pagedkvJson, TRACES } from './cli.helpers.js';
import { Random, replay } from './device.random.js';

const quiet = (): void => undefined;

function requests(...pairs: readonly (readonly [number, number])[]): readonly Lengths[] {
  return pairs.map(([inputTokens, outputTokens]) => ({ inputTokens, outputTokens }));
}

function contiguous(name: string, all: readonly Lengths[], slots: number, maxLength: number) {
  const scheme = CONTIGUOUS_SCHEMES.find((each) => each.name === name)!;
  return simulateContiguous(scheme, all, slots, maxLength, quiet);
}

function paged(
  all: readonly Lengths[],
  setup: { readonly slots: number; readonly blockSize: number; readonly maxLength?: number },
  admission: AdmissionName = 'greedy',
) {
  const { maxLength = setup.slots } = setup;
  const policy = newAdmission(admission, maxLength, DEFAULT_PREEMPTION_GOAL);
  return simulatePaged(all, { maxLength, ...setup }, policy, quiet);
}

/** Rounded, so that halves and thirds compare. */
function sharesOf({ utilisation, reserved, internalWaste, externalWaste }: Shares) {
  return [utilisation, reserved, internalWaste, externalWaste].map((x) => Number(x.toFixed(9)));
}

function sumOfShares({ utilisation, reserved, internalWaste, externalWaste }: Shares): number {
  return utilisation + reserved + internalWaste + externalWaste;
}

describe('a buddy allocator', () => {
  it('begins as the powers of two that make up the memory, the largest first', () => {
    expect(new BuddyAllocator(13).pieces()).toEqual([
      [0, 8],
      [8, 4],
      [12, 1],
    ]);
  });

  it('splits the smallest piece that is large enough', () => {
    const buddies = new BuddyAllocator(12);
    expect(buddies.allocate(1)).toBe(8);
    expect(buddies.pieces()).toEqual([
      [0, 8],
      [9, 1],
      [10, 2],
    ]);
  });

  it('rounds up to a power of two, and has nothing for what is larger than its largest piece', () => {
    const buddies = new BuddyAllocator(12);
    expect(buddies.allocate(9)).toBeUndefined();
    expect(buddies.allocate(5)).toBe(0);
    expect(buddies.pieces()).toEqual([[8, 4]]);
    expect(buddies.allocate(5)).toBeUndefined();
  });

  it('merges what is freed with its buddy, and that with its own, but never with another neighbour', () => {
    const buddies = new BuddyAllocator(12);
    const begins = [1, 1, 2, 3].map((slots) => buddies.allocate(slots)!);
    expect(begins).toEqual([8, 9, 10, 0]);
    buddies.free(9, 1);
    buddies.free(10, 2);
    expect(buddies.pieces()).toEqual([
      [4, 4],
      [9, 1],
      [10, 2],
    ]);
    buddies.free(8, 1);
    // 4 to 7 and 8 to 11 touch, but the buddy of the one is 0 to 3.
    expect(buddies.pieces()).toEqual([
      [4, 4],
      [8, 4],
    ]);
    buddies.free(0, 3);
    expect(buddies.pieces()).toEqual(new BuddyAllocator(12).pieces());
  });

  it(`is whole again after any order of frees (${replay})`, () => {
    const random = new Random('buddies');
    for (let round = 0; round < 50; round++) {
      const slots = random.integer(1, 300);
      const buddies = new BuddyAllocator(slots);
      const sizes = Array.from({ length: 40 }, () => random.integer(1, 60));
      const held = sizes.flatMap((size) => {
        const begin = buddies.allocate(size);
        return begin === undefined ? [] : [[begin, size] as const];
      });
      for (const [begin, size] of random.shuffle([...held])) buddies.free(begin, size);
      expect(buddies.pieces()).toEqual(new BuddyAllocator(slots).pieces());
    }
  });
});

describe('a first-fit allocator', () => {
  it('takes exactly what is asked for from the first hole, and closes holes', () => {
    const memory = new FirstFitAllocator(10);
    expect([3, 3, 3].map((slots) => memory.allocate(slots))).toEqual([0, 3, 6]);
    expect(memory.allocate(2)).toBeUndefined();
    memory.free(3, 3);
    expect(memory.allocate(2)).toBe(3);
    memory.free(0, 3);
    memory.free(3, 2);
    expect(memory.allocate(6)).toBe(0);
  });
});

describe('of contiguous schemes', () => {
  it('max reserves the longest length for everybody', () => {
    // Two at once, twice: with 1 and with 2 tokens each, of 4 slots each.
    const { shares } = contiguous('max', requests([1, 1], [1, 1], [1, 1]), 8, 4);
    expect(sharesOf(shares)).toEqual([0.375, 0.125, 0.5, 0]);
    expect(shares.meanBatch).toBe(2);
  });

  it('pow2-buddy reserves the prompt and a power of two for the output, rounded up by the buddies', () => {
    // 1 + 4 slots each, so 8 of the buddies'; with 1 to 4 tokens.
    const { shares } = contiguous('pow2-buddy', requests([1, 3], [1, 3], [1, 3]), 16, 8);
    expect(sharesOf(shares)).toEqual([20 / 64, 12 / 64, 8 / 64, 24 / 64]);
  });

  it('exact-buddy loses only what the buddies round up', () => {
    // 3 slots each, so 4 of the buddies': three at once, with 1 to 3 tokens.
    const all = requests([1, 2], [1, 2], [1, 2], [1, 2]);
    expect(sharesOf(contiguous('exact-buddy', all, 12, 8).shares)).toEqual([0.5, 0.25, 0, 0.25]);
  });

  it('exact-first-fit loses only what no request fits into', () => {
    const all = requests([1, 2], [1, 2], [1, 2]);
    expect(sharesOf(contiguous('exact-first-fit', all, 8, 8).shares)).toEqual([0.5, 0.25, 0, 0.25]);
  });

  it('a request that the buddies round up beyond the memory is left out, and counted', () => {
    const { shares, refused } = contiguous('exact-buddy', requests([5, 0], [1, 0]), 7, 7);
    expect(refused).toBe(1);
    expect(sharesOf(shares)).toEqual([
      Number((1 / 7).toFixed(9)),
      0,
      0,
      Number((6 / 7).toFixed(9)),
    ]);
  });
});

describe('paged', () => {
  it('wastes only parts of last blocks, and what no block can be made of', () => {
    // Two at once, in a block of 4 each, with 1 to 3 tokens; the ninth slot is in no block.
    const { shares } = paged(requests([1, 2], [1, 2], [1, 2]), { slots: 9, blockSize: 4 });
    const twelfths = [12, 6, 6, 3].map((slots) => Number((slots / 27).toFixed(9)));
    expect(sharesOf(shares)).toEqual(twelfths);
  });

  it('greedy preempts where both outgrow the memory, and computes the loser again', () => {
    const { shares, preemptions, recomputedTokens } = paged(requests([4, 4], [4, 4]), {
      slots: 8,
      blockSize: 4,
    });
    expect([preemptions, recomputedTokens]).toEqual([1, 4]);
    // Somebody waits from the second pass to the fifth: the other one holds 5 to 8 tokens.
    expect(sharesOf(shares)).toEqual([26 / 32, 6 / 32, 0, 0]);
  });

  it('computes again only what is no longer in memory', () => {
    // The first takes one of the two blocks that the second gives up.
    const { preemptions, recomputedTokens } = paged(requests([4, 1], [8, 2]), {
      slots: 12,
      blockSize: 4,
    });
    expect([preemptions, recomputedTokens]).toEqual([1, 4]);
  });

  it.each(['prompt', 'known'] as const)('%s waits where greedy would preempt', (admission) => {
    const setup = { slots: 8, blockSize: 4 };
    expect(paged(requests([4, 4], [4, 4]), setup, admission).preemptions).toBe(0);
  });

  it('known begins as soon as the two never meet in more than the memory has', () => {
    // The first holds 2 of 3 blocks from its second pass to its fifth; the second needs 2 in its third.
    const all = requests([4, 4], [3, 2]);
    const { shares } = paged(all, { slots: 12, blockSize: 4 }, 'known');
    // So it waits for three passes, in which the first holds 4 to 6 tokens.
    expect(shares.utilisation).toBeCloseTo((4 + 5 + 6) / 36, 9);
  });

  it('serves requests without a prompt, and without an output', () => {
    const { shares } = paged(requests([0, 2], [2, 0]), { slots: 4, blockSize: 2 });
    // 1 and 2 tokens in the first pass, 2 and none in the second.
    expect(shares.utilisation).toBe(5 / 8);
  });

  it(`under any admission adds up, and known never preempts (${replay})`, () => {
    const random = new Random('paged');
    for (let round = 0; round < 30; round++) {
      const maxLength = random.integer(1, 60);
      const blockSize = random.integer(1, 9);
      const slots = Math.ceil(maxLength / blockSize) * blockSize + random.integer(0, 150);
      const all = Array.from({ length: random.integer(1, 60) }, () => {
        const total = random.integer(1, maxLength);
        const inputTokens = random.integer(0, total);
        return { inputTokens, outputTokens: total - inputTokens };
      });
      for (const admission of ADMISSIONS) {
        const { shares, preemptions } = paged(all, { slots, blockSize, maxLength }, admission);
        expect(sumOfShares(shares)).toBeCloseTo(1, 12);
        expect(Math.min(...sharesOf(shares))).toBeGreaterThanOrEqual(0);
        if (admission === 'known') expect(preemptions).toBe(0);
      }
      for (const { name } of CONTIGUOUS_SCHEMES) {
        expect(sumOfShares(contiguous(name, all, slots, maxLength).shares)).toBeCloseTo(1, 12);
      }
    }
  });
});

describe('the watermark', () => {
  const memory = (freeBlocks: number, running: number) => ({
    blockSize: 16,
    blocks: 100,
    freeBlocks,
    running: Array.from({ length: running }, () => ({ held: 16, total: 32 })),
  });
  const candidate = { held: 16, total: 32 };
  /** The least number of free blocks with which a candidate is admitted beside so many others. */
  const threshold = (policy: ReturnType<typeof newWatermark>, running: number): number => {
    for (let blocks = 0; ; blocks++)
      if (policy.admits(candidate, memory(blocks, running))) return blocks;
  };

  it('keeps a reserve that grows with the batch, and admits anything that is alone', () => {
    const policy = newWatermark(2048, 0.1);
    // 4 blocks of 16 for each, the candidate too, and 1 for the candidate's prompt.
    expect([1, 2, 9].map((running) => threshold(policy, running))).toEqual([9, 13, 41]);
    expect(threshold(policy, 0)).toBe(0);
  });

  it('raises the reserve with a preemption, and comes back after 1 / goal requests without', () => {
    const policy = newWatermark(2048, 0.1);
    for (let i = 0; i < 50; i++) policy.onPreempted!();
    expect(threshold(policy, 9)).toBeGreaterThan(100);
    for (let i = 0; i < 501; i++) policy.onFinished!();
    expect(threshold(policy, 9)).toBe(41);
  });

  it('preempts the last to join of those that make room for all others, else the largest', () => {
    const policy = newWatermark(2048, 0.1);
    const victim = (...held: readonly number[]) =>
      policy.victim(held.map((tokens) => ({ held: tokens, total: 1000 })));
    expect(victim(500, 32, 33, 31)).toBe(0);
    expect(victim(500, 48, 64, 31)).toBe(2);
    expect(victim(10, 20, 15)).toBe(1);
  });

  it.each([4000, 15_700, 40_000])('stays below 0.1 preemptions a request in %i slots', (slots) => {
    for (const seed of [1, 2]) {
      const workload = { name: '', requests: generateLengths(3000, seed, 2048), slots };
      const row = pagedRow({ ...workload, maxLength: 2048 }, 'watermark', 16, quiet);
      expect(row.preemptionsPerRequest).toBeLessThan(0.1);
    }
  });
});

describe('the generator', () => {
  it('has the means that the PagedAttention paper gives for ShareGPT', () => {
    const all = generateLengths(50_000, 1, 2048);
    const mean = (of: (request: Lengths) => number) =>
      all.reduce((sum, request) => sum + of(request), 0) / all.length;
    expect(mean(({ inputTokens }) => inputTokens)).toBeCloseTo(161.31, -1);
    expect(mean(({ outputTokens }) => outputTokens)).toBeCloseTo(337.99, -1);
  });

  it('gives the same requests for the same seed, and no longer ones than it may', () => {
    expect(generateLengths(100, 7, 300)).toEqual(generateLengths(100, 7, 300));
    expect(generateLengths(100, 7, 300)).not.toEqual(generateLengths(100, 8, 300));
    const totals = generateLengths(1000, 7, 300).map(
      (each) => each.inputTokens + each.outputTokens,
    );
    expect(Math.max(...totals)).toBeLessThanOrEqual(300);
  });

  it("comes close to each share in the paper's figure 2", async () => {
    const rows = (await pagedkvJson(
      ...['fragmentation', '--block-size', '16', '--admission', 'greedy'],
    )) as Row[];
    const found = Object.fromEntries(rows.map((row) => [row.scheme, row]));
    const figure = {
      max: [20.4, 13.3, 57.3, 8.9],
      'pow2-buddy': [26.8, 17.9, 13.6, 41.6],
      'exact-buddy': [38.2, 25.2, 0, 36.6],
    };
    for (const [scheme, shares] of Object.entries(figure)) {
      sharesOf(found[scheme]!).forEach((share, i) => {
        expect(Math.abs(100 * share - shares[i]!)).toBeLessThan(2.5);
      });
    }
    expect(Math.abs(100 * found.paged!.utilisation - 96.3)).toBeLessThan(1);
  });
});

const SHAREGPT = join(TRACES, 'sharegpt_firstturn_lengths.jsonl.gz');
const where = `${SHAREGPT} is not there; PAGEDKV_TRACES says where`;

describe.skipIf(!existsSync(SHAREGPT))(`on ShareGPT's first turns (else skipped: ${where})`, () => {
  it("reproduces the PagedAttention paper's figure 2", async () => {
    const rows = (await pagedkvJson(
      ...['fragmentation', SHAREGPT, '--slots', '15700', '--max-length', '2048'],
      ...['--block-size', '16', '--admission', 'greedy'],
    )) as Row[];
    const used = Object.fromEntries(
      rows.map(({ scheme, utilisation }) => [scheme, Number((100 * utilisation).toFixed(1))]),
    );
    expect(used).toEqual({
      max: 20.3,
      'pow2-buddy': 24.3,
      'exact-buddy': 37.3,
      'exact-first-fit': 49.4,
      paged: 97.2,
    });
  });

  it.each([
    [DEFAULT_PREEMPTION_GOAL, 0.9, 0.1],
    [0.1, 0.905, 0.105],
    [0.16, 0.925, 0.16],
    [0.32, 0.947, 0.33],
  ])(
    'with a goal of %d uses at least %d under %d preemptions a request',
    async (goal, least, most) => {
      const workload = { requests: await readLengths(SHAREGPT), slots: 15_700, maxLength: 2048 };
      const row = pagedRow({ name: '', ...workload }, 'watermark', 16, quiet, goal);
      expect(row.utilisation).toBeGreaterThan(least);
      expect(row.preemptionsPerRequest).toBeLessThan(most);
    },
  );
});
