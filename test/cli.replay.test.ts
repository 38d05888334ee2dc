import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import { jsonLines, pagedkv, pagedkvJson, TRACES, useFolder } from './cli.helpers.js';
import { lru, randomTrace, toLines, type RandomTrace } from './cli.traces.js';
import { Random, replay } from './device.random.js';

/** Two chats over one system prompt of 2 blocks, each of 2 turns, in blocks of 4 tokens. */
const CHATS = [
  { header: { block: 4, requests: 4, blocks: 11, name: 'chats' } },
  { t: 0, in: 13, out: 5, h: [[0, 3]], o: [[3, 1]], s: 0 },
  { t: 5, in: 12, out: 4, h: [[0, 2], [4, 1]], o: [[5, 1]], s: 1 }, // prettier-ignore
  { t: 9, in: 23, out: 9, h: [[0, 4], [6, 1]], o: [[7, 2]], s: 0, stop: 'end_turn' }, // prettier-ignore
  { t: 9, in: 19, out: 8, h: [[0, 2], [4, 2]], o: [[9, 2]], s: 1 }, // prettier-ignore
];

const MOONCAKE = [
  { timestamp: 0, input_length: 1500, output_length: 7, hash_ids: [0, 1, 2] },
  { timestamp: 3, input_length: 1025, output_length: 7, hash_ids: [0, 1, 9] },
  { timestamp: 2, input_length: 1500, output_length: 7, hash_ids: [0, 1, 2] },
];

const FIELDS = [
  'trace',
  'policy',
  'percent',
  'blocks',
  'hostBlocks',
  'requests',
  'inputTokens',
  'hitBlocks',
  'hitTokens',
  'tokenHitRate',
  'evictions',
  'offloads',
  'onboards',
  'seconds',
];

describe('pagedkv replay', () => {
  const write = useFolder();
  const chats = () => write('chats.jsonl', jsonLines(CHATS));
  const lruOf = (path: string, ...options: readonly string[]) =>
    pagedkvJson('replay', path, '--policy', 'lru', ...options);

  it('counts what prompts find, block for block', async () => {
    // The system prompt, then 4 blocks of each chat's first turn.
    const hitTokens = 4 * (2 + 4 + 4);
    expect(await lruOf(chats(), '--percent', '100')).toEqual({
      trace: 'chats',
      policy: 'lru',
      percent: 100,
      blocks: 11,
      hostBlocks: 0,
      requests: 4,
      inputTokens: 67,
      hitBlocks: 10,
      hitTokens,
      tokenHitRate: hitTokens / 67,
      evictions: 0,
      offloads: 0,
      onboards: 0,
      seconds: expect.any(Number),
    });
  });

  it('evicts when a cache is full, and cuts a request that is longer', async () => {
    // The chains are 4, 4, 4 and 4 of 7, 5 and 6 blocks: the last turns are cut.
    expect(await lruOf(chats(), '--blocks', '4')).toMatchObject({
      blocks: 4,
      percent: (100 * 4) / 11,
      hitBlocks: 0 + 2 + 2 + 2,
      evictions: 0 + 2 + 2 + 2,
    });
  });

  it('counts no more tokens than a prompt has', async () => {
    const path = write('mooncake.jsonl', jsonLines(MOONCAKE));
    // Mooncake names the last block of a prompt though it is not full.
    expect(await lruOf(path, '--percent', '100')).toMatchObject({
      trace: 'mooncake',
      blocks: 4,
      inputTokens: 4025,
      hitBlocks: 2 + 3,
      hitTokens: 1024 + 1500,
    });
  });

  it('reads a gzipped trace as a plain one', async () => {
    const path = write('chats.jsonl.gz', gzipSync(jsonLines(CHATS)));
    expect(await lruOf(path, '--percent', '100')).toMatchObject({ trace: 'chats', hitBlocks: 10 });
  });

  it('answers with an array for several sizes or policies, each with the same fields', async () => {
    const one = await lruOf(chats(), '--percent', '50');
    const sizes = (await lruOf(chats(), '--percent', '50,100')) as object[];
    expect(Object.keys(one as object)).toEqual(FIELDS);
    expect(sizes.map((each) => Object.keys(each))).toEqual([FIELDS, FIELDS]);
    expect(sizes.map((each) => (each as { blocks: number }).blocks)).toEqual([5, 11]);
    const policies = (await pagedkvJson(
      'replay',
      chats(),
      '--blocks',
      '9',
      '--policy',
      'lru,lru',
    )) as object[];
    expect(policies).toHaveLength(2);
  });

  it('takes its default sizes, but for those of less than a block', async () => {
    const counts = (await lruOf(chats())) as { percent: number; blocks: number }[];
    expect(counts.map(({ percent, blocks }) => [percent, blocks])).toEqual([
      [10, 1],
      [25, 2],
      [50, 5],
    ]);
    const one = write(
      'one.jsonl',
      jsonLines([{ header: { block: 4 } }, { t: 0, in: 4, out: 0, h: [[7, 1]] }]),
    );
    expect(await lruOf(one)).toMatchObject({
      percent: 100,
      blocks: 1,
      hitBlocks: 0,
      tokenHitRate: 0,
    });
  });

  it('prints a table for people', async () => {
    const { code, out } = await pagedkv(
      'replay',
      chats(),
      '--percent',
      '50,100',
      '--policy',
      'lru',
    );
    expect(code).toBe(0);
    expect(out).toContain('chats: 4 requests of 67 tokens');
    expect(out).toMatch(/lru +50% +5 /);
    expect(out).toMatch(/lru +100% +11 +59.70% +10 +0 /);
    expect(out).not.toContain('offloads');
  });

  it('moves what leaves the device to a host tier and finds it there', async () => {
    const options = ['--blocks', '5', '--host-blocks', '20', '--policy', 'lru'];
    expect(await pagedkvJson('replay', chats(), ...options)).toMatchObject({
      hostBlocks: 20,
      hitBlocks: 10,
      evictions: 0,
    });
    const { out } = await pagedkv('replay', chats(), ...options);
    expect(out).toMatch(/host blocks.*offloads.*onboards/);
  });

  it('tells the manager which sessions have ended, where it may give hints', async () => {
    const request = (t: number, s: number, first: number) => ({
      t,
      in: 8,
      out: 0,
      h: [[first, 2]],
      s,
    });
    const path = write(
      'hints.jsonl',
      jsonLines([
        { header: { block: 4 } },
        request(0, 1, 0),
        request(1, 2, 2),
        request(2, 3, 4),
        request(3, 1, 0),
      ]),
    );
    expect(await pagedkvJson('replay', path, '--blocks', '4')).toMatchObject({ hitBlocks: 0 });
    expect(await pagedkvJson('replay', path, '--blocks', '4', '--hints')).toMatchObject({
      hitBlocks: 2,
    });
  });

  it('tells of an odd header and goes on', async () => {
    const [header, ...requests] = CHATS;
    const odd = [{ header: { ...header!.header, blocks: 40 } }, ...requests];
    const path = write('odd.jsonl', jsonLines(odd));
    const { code, out, err } = await pagedkv('replay', path, '--percent', '10');
    expect(code).toBe(0);
    expect(err).toContain(`${path}:1: the header says 40 blocks, the requests have 11`);
    expect(out).toMatch(/10% +4 /);
  });

  it('draws hit rate against size, with the optimum of a table beside the trace', async () => {
    const svg = write('chart.svg', '');
    expect((await pagedkv('replay', chats(), '--svg', svg, '--percent', '20,50,100')).code).toBe(0);
    expect(readFileSync(svg, 'utf8')).toMatch(/^<svg[^]*chats[^]*<\/svg>/);
    expect(readFileSync(svg, 'utf8')).not.toContain('MIN');
    write(
      'ref_chats.tsv',
      'policy\tcap_blocks\ttoken_hit\nMIN\t2\t0.2\nLRU\t2\t0.1\nMIN\t5\t0.5\n',
    );
    expect((await pagedkv('replay', chats(), '--svg', svg, '--blocks', '5')).code).toBe(0);
    expect(readFileSync(svg, 'utf8')).toContain('MIN');
  });

  it('says what to install where there is nothing to draw with', async () => {
    vi.doMock('echarts', () => {
      throw new Error('not found');
    });
    const { code, err } = await pagedkv('replay', chats(), '--svg', 'chart.svg');
    vi.doUnmock('echarts');
    expect(code).toBe(2);
    expect(err).toContain('npm install echarts');
  });
});

describe('LRU through pagedkv replay', () => {
  const write = useFolder();

  it(`is LRU by its definition, on random traces (${replay})`, async () => {
    const random = new Random('replay');
    for (let i = 0; i < 150; i++) {
      const trace = randomTrace(random);
      const blocks = random.integer(1, trace.blocks);
      const text = jsonLines(toLines(trace));
      const path = write('random.jsonl', random.integer(0, 1) === 0 ? text : gzipSync(text));
      const counts = await pagedkvJson('replay', path, '--policy', 'lru', '--blocks', `${blocks}`);
      expect(counts, `trace ${i}, ${blocks} blocks`).toMatchObject(lru(trace, blocks));
    }
  });

  it(`finds no less with a host tier behind it, and loses no more (${replay})`, async () => {
    const random = new Random('tiers');
    for (let i = 0; i < 100; i++) {
      const trace = randomTrace(random);
      const blocks = random.integer(1, trace.blocks);
      const found = await tieredCounts(trace, blocks, 4 * blocks);
      const oneTier = lru(trace, blocks);
      expect(found.hitBlocks, `trace ${i}`).toBeGreaterThanOrEqual(oneTier.hitBlocks);
      expect(found.evictions, `trace ${i}`).toBeLessThanOrEqual(oneTier.evictions);
      expect(found.onboards, `trace ${i}`).toBeLessThanOrEqual(found.offloads);
    }
  });

  it(`copies every block to an inclusive host once it is computed (${replay})`, async () => {
    const random = new Random('inclusive');
    for (let i = 0; i < 100; i++) {
      const trace = randomTrace(random);
      const blocks = random.integer(1, trace.blocks);
      const found = await tieredCounts(trace, blocks, 4 * blocks, '--host-mode', 'inclusive');
      const oneTier = lru(trace, blocks);
      expect(found.hitBlocks, `trace ${i}`).toBeGreaterThanOrEqual(oneTier.hitBlocks);
      const exclusive = await tieredCounts(trace, blocks, 4 * blocks);
      expect(found.hitBlocks, `trace ${i}`).toBeLessThanOrEqual(exclusive.hitBlocks);
      const computed = found.evictions + trace.blocks;
      expect(found.offloads, `trace ${i}`).toBeLessThanOrEqual(computed);
    }
  });

  async function tieredCounts(
    trace: RandomTrace,
    blocks: number,
    hostBlocks: number,
    ...options: readonly string[]
  ) {
    const path = write('tiers.jsonl', jsonLines(toLines(trace)));
    const sizes = ['--blocks', `${blocks}`, '--host-blocks', `${hostBlocks}`];
    const counts = await pagedkvJson('replay', path, '--policy', 'lru', ...sizes, ...options);
    return counts as Record<'hitBlocks' | 'evictions' | 'offloads' | 'onboards', number>;
  }
});

/** The project's reference traces, which are no part of it. */

describe.each([
  'agent_miniswe_text',
  'claude_code_mix_A',
  'mooncake_conversation',
  'sharegpt_multiturn_A',
])('the reference trace %s', (name) => {
  const path = join(TRACES, `${name}.jsonl.gz`);
  const table = join(TRACES, `ref_${name}.tsv`);

  if (!existsSync(path) || !existsSync(table)) {
    it.skip(`was not replayed: it is not in ${TRACES} (PAGEDKV_TRACES says where)`);
    return;
  }

  it('has exactly the hits and evictions of the reference LRU at every size', async () => {
    const expected = readRows(table);
    expect(expected.length).toBeGreaterThan(0);
    const percents = expected.map(({ percent }) => percent).join();
    const counts = await pagedkvJson('replay', path, '--policy', 'lru', '--percent', percents);
    expect(counts).toMatchObject(expected);
  });
});

/** Those whose longest request fits on the device at 1%; it must, as it is computed there. */
describe.each(['claude_code_mix_A', 'mooncake_conversation', 'sharegpt_multiturn_A'])(
  'the reference trace %s in two tiers',
  (name) => {
    const path = join(TRACES, `${name}.jsonl.gz`);
    const table = join(TRACES, `ref_${name}.tsv`);

    it.skipIf(!existsSync(path) || !existsSync(table))(
      'hits with four times the host blocks as the reference does in one tier of five times',
      async () => {
        const rows = readRows(table);
        const { blocks } = rows.find(({ percent }) => percent === 1)!;
        const oneTier = rows.find(({ percent }) => percent === 5)!;
        const sizes = ['--blocks', `${blocks}`, '--host-blocks', `${4 * blocks}`];
        const counts = await pagedkvJson('replay', path, '--policy', 'lru', ...sizes);
        const { hitTokens, inputTokens } = counts as Record<'hitTokens' | 'inputTokens', number>;
        expect(Math.abs(hitTokens - oneTier.hitTokens) / inputTokens).toBeLessThan(0.0005);
      },
    );
  },
);

/** The rows of LRU, as the command should count. */
function readRows(table: string) {
  const [header, ...rows] = readFileSync(table, 'utf8').trimEnd().split('\n');
  const columns = header!.split('\t');
  const cells = rows.map((row) => row.split('\t'));
  const read = (row: readonly string[], column: string) => row[columns.indexOf(column)]!;
  return cells
    .filter((row) => read(row, 'policy') === 'LRU')
    .map((row) => ({
      percent: Number(read(row, 'cap_label').slice(1)),
      blocks: Number(read(row, 'cap_blocks')),
      hitBlocks: Number(read(row, 'hit_blocks')),
      hitTokens: Number(read(row, 'hit_tokens')),
      evictions: Number(read(row, 'evictions')),
    }));
}
