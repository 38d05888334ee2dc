/** What `pagedkv fragmentation` reads, what it prints, and what it refuses with a message that helps. */
import { existsSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readLengths } from '../src/cli/fragmentation/lengths.js';
import { jsonLines, pagedkv, pagedkvJson, useFolder } from './cli.helpers.js';

const SMALL = ['--slots', '64', '--max-length', '32', '--block-size', '4'] as const;
const HEADER = { header: { requests: 3, name: 'three', fields: '[t_ms,in,out]' } };
const TRIPLES = [
  [0, 5, 3],
  [7.5, 8, 0],
  [9, 0, 2],
] as const;
const LENGTHS = TRIPLES.map(([, inputTokens, outputTokens]) => ({ inputTokens, outputTokens }));

describe('lengths are read from', () => {
  const file = useFolder();

  it('JSON lines with a header', async () => {
    expect(await readLengths(file('a.jsonl', jsonLines([HEADER, ...TRIPLES])))).toEqual(LENGTHS);
  });

  it('JSON lines without a header', async () => {
    expect(await readLengths(file('b.jsonl', jsonLines(TRIPLES)))).toEqual(LENGTHS);
  });

  it('gzip, whatever its name', async () => {
    const zipped = gzipSync(jsonLines([HEADER, ...TRIPLES]));
    expect(await readLengths(file('c.jsonl', zipped))).toEqual(LENGTHS);
  });

  it('CSV as Azure publishes it, with either end of line and a byte order mark', async () => {
    const rows = TRIPLES.map(([t, input, output]) => `2023-11-16 18:17:0${t}.0,${input},${output}`);
    const text = ['\ufeffTIMESTAMP,ContextTokens,GeneratedTokens', ...rows].join('\r\n');
    expect(await readLengths(file('d.csv', text))).toEqual(LENGTHS);
  });
});

describe('a file that cannot be used is refused with its line and the mend', () => {
  const file = useFolder();

  async function refusal(name: string, content: string | Buffer): Promise<string> {
    const { code, out, err } = await pagedkv('fragmentation', file(name, content), ...SMALL);
    expect([code, out]).toEqual([2, '']);
    return err;
  }

  it('when it is missing', async () => {
    const { code, err } = await pagedkv('fragmentation', 'no/such/file.jsonl');
    expect([code, err]).toEqual([
      2,
      'pagedkv: cannot read no/such/file.jsonl: there is no such file',
    ]);
  });

  it('when it is empty', async () => {
    expect(await refusal('empty.jsonl', '')).toMatch(/empty\.jsonl:1: the file is empty; /);
  });

  it('when there is only a header', async () => {
    const header = jsonLines([{ header: { requests: 0 } }]);
    expect(await refusal('header.jsonl', header)).toMatch(/header\.jsonl:1: .*no request; copy/);
  });

  it('when its gzip is cut off', async () => {
    const whole = gzipSync(jsonLines([HEADER, ...TRIPLES]));
    const cut = await refusal('cut.jsonl.gz', whole.subarray(0, whole.length - 12));
    expect(cut).toMatch(/cut\.jsonl\.gz:\d+: the gzip data is broken or cut off.*; copy/);
  });

  it('when it has fewer requests than its header says', async () => {
    expect(await refusal('few.jsonl', jsonLines([HEADER, [0, 1, 1]]))).toMatch(
      /few\.jsonl:2: the file ends after 1 requests, and its header says 3; copy/,
    );
  });

  it.each([
    ['[0,5]', /is no request; make it \[t_ms,in,out\]/],
    ['[0,5,3,1]', /is no request/],
    ['[0,-5,3]', /is no request/],
    ['[0,5.5,3]', /is no request/],
    ['[0,"5",3]', /is no request/],
    ['[-1,5,3]', /is no request/],
    ['[0,0,0]', /at least one token/],
    ['{"in":5}', /is no request/],
    ['[0,5,', /no JSON: .*copy the file again/],
  ])('when a line is %s', async (line, message) => {
    const err = await refusal('line.jsonl', `[0,5,3]\n\n${line}\n`);
    expect(err).toContain('line.jsonl:3: ');
    expect(err).toMatch(message);
  });

  it.each(['2023-11-16,5', ',5,3', '2023-11-16,5,3,1', '2023-11-16,5,-3', '2023-11-16,0,0'])(
    'when a row of CSV is %s',
    async (row) => {
      const err = await refusal('row.csv', `TIMESTAMP,ContextTokens,GeneratedTokens\n${row}\n`);
      expect(err).toMatch(/row\.csv:2: .* is no request; make it TIMESTAMP,Context/);
    },
  );

  it.each(['ContextTokens,GeneratedTokens', '{"t":0}', 'hello'])(
    'when it begins with %s',
    async (line) => {
      expect(await refusal('begin.txt', `${line}\n`)).toMatch(
        /begin\.txt:1: .* is neither a header nor a request; the file is JSON lines/,
      );
    },
  );

  it('when all of its requests are too long', async () => {
    expect(await refusal('long.jsonl', jsonLines([[0, 20, 20]]))).toMatch(
      /1 of 1 requests are longer than --max-length 32, the longest has 40 tokens; give a larger/,
    );
  });
});

describe('pagedkv fragmentation', () => {
  const file = useFolder();

  it('leaves out requests that are too long, and says so', async () => {
    const path = file('mixed.jsonl', jsonLines([...TRIPLES, [9, 30, 3]]));
    const { code, out, err } = await pagedkv('fragmentation', path, ...SMALL);
    expect(code).toBe(0);
    expect(err).toMatch(/1 of 4 requests are longer than --max-length 32, .*; they are left out/);
    expect(out).toContain('mixed.jsonl: 3 requests of 4 tokens in and 2 out');
  });

  it('prints as JSON one object for each scheme, and for each admission and block size', async () => {
    const path = file('rows.jsonl', jsonLines(TRIPLES));
    const rows = (await pagedkvJson(
      ...['fragmentation', path, '--slots', '64', '--max-length', '32'],
      ...['--block-size', '4,8', '--admission', 'greedy,known'],
    )) as Record<string, unknown>[];
    expect(rows.map((row) => [row.scheme, row.blockSize, row.admission])).toEqual([
      ['max', null, null],
      ['pow2-buddy', null, null],
      ['exact-buddy', null, null],
      ['exact-first-fit', null, null],
      ['paged', 4, 'greedy'],
      ['paged', 8, 'greedy'],
      ['paged', 4, 'known'],
      ['paged', 8, 'known'],
    ]);
    for (const row of rows) {
      expect(Object.keys(row).join()).toBe(
        'scheme,blockSize,slots,admission,utilisation,reserved,internalWaste,externalWaste,' +
          'meanBatch,preemptionsPerRequest,recomputedPerInputToken',
      );
    }
  });

  it('runs without a file, the same for the same seed', async () => {
    const args = ['fragmentation', '--requests', '50', '--block-size', '16'];
    const first = await pagedkvJson(...args, '--seed', '3');
    expect(await pagedkvJson(...args, '--seed', '3')).toEqual(first);
    expect(await pagedkvJson(...args, '--seed', '4')).not.toEqual(first);
  });

  it('prints the curve of utilisation against preemptions, and draws it', async () => {
    const path = file('curve.svg', '');
    const args = ['--requests', '100', '--block-size', '32,8', '--svg', path];
    const { code, out } = await pagedkv('fragmentation', ...args);
    expect(code).toBe(0);
    const curve = out.slice(out.indexOf('What admission can choose from, in blocks of 32'));
    expect(curve.match(/^watermark +0\.\d+ /gm)).toHaveLength(7);
    expect(curve.match(/^(prompt|greedy|known) /gm)).toHaveLength(3);
    expect(readFileSync(path, 'utf8')).toMatch(/^<svg .*preemptions a request/s);
  });

  it.each([
    [['--slots', '100', '--max-length', '200'], /give --slots 200 or more, or a smaller --max-l/],
    [
      ['--slots', '100', '--max-length', '100', '--block-size', '64'],
      /--slots 100 make 64 in blocks of 64, .*: give --slots 128 or more, or a smaller --block/,
    ],
    [['--slots', '0'], /--slots takes a whole number from 1/],
    [['--block-size', '2000'], /--block-size takes a whole number from 1 to 1024/],
    [['--block-size', '16,'], /--block-size takes a whole number/],
    [['--admission', 'gredy'], /--admission knows no 'gredy'; did you mean greedy\?/],
    [['--seed', 'x'], /--seed takes a whole number/],
    [['a.jsonl', '--seed', '1'], /--seed is for generated requests: leave it out/],
    [['a.jsonl', 'b.jsonl'], /one file at a time: what is 'b\.jsonl'\?/],
    [['--slot', '5'], /there is no option --slot; did you mean --slots\?/],
    [['--svg', ''], /--svg takes the name of a file/],
    [['--svg', join('no', 'such', 'folder', 'a.svg')], /there is no folder/],
  ])('refuses %j', async (args, message) => {
    const { code, out, err } = await pagedkv('fragmentation', ...args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(message);
    expect(existsSync('no')).toBe(false);
  });
});
