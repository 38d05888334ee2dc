import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { jsonLines, pagedkv, useFolder } from './cli.helpers.js';

const HEADER = { header: { block: 4, requests: 3, blocks: 6 } };
const FIRST = { t: 0, in: 9, out: 4, h: [[0, 2]], o: [[2, 1]] };
const SECOND = { t: 1, in: 13, out: 4, h: [[0, 3]] };
const THIRD = { t: 2, in: 9, out: 4, h: [[3, 2]], o: [[5, 1]] };

describe('a trace that cannot be used is refused with exit code 2, and the message', () => {
  const write = useFolder();

  async function refusal(content: string | Buffer, ...options: readonly string[]): Promise<string> {
    const path = write('bad.jsonl', content);
    const { code, out, err } = await pagedkv('replay', path, ...options);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err.split('\n')).toHaveLength(1);
    return err.replaceAll(path, 'FILE');
  }

  const refusalOfLines = (...lines: readonly unknown[]) => refusal(jsonLines(lines));
  /** Of a trace whose second request, on line 3, is another. */
  const refusalOfSecond = (second: unknown) => refusalOfLines(HEADER, FIRST, second, THIRD);

  it('says that a file is not there, or is a folder', async () => {
    const missing = await pagedkv('replay', '/nowhere/trace.jsonl');
    expect(missing).toMatchObject({ code: 2, out: '' });
    expect(missing.err).toBe('pagedkv: cannot read /nowhere/trace.jsonl: there is no such file');
    const folder = join(dirname(write('x', '')), 'folder');
    mkdirSync(folder);
    expect((await pagedkv('replay', folder)).err).toContain('it is a folder');
  });

  it('says that a file is empty', async () => {
    expect(await refusal('')).toContain('FILE:1: the file is empty');
    expect(await refusal('\n\n')).toContain('FILE:1: the file is empty');
    expect(await refusal(gzipSync(''))).toContain('FILE:1: the file is empty');
  });

  it('says where a gzipped file is cut off or broken', async () => {
    const many = Array.from({ length: 3000 }, (_, i) => ({ t: i, in: 4, out: 0, h: [[i, 1]] }));
    const packed = gzipSync(jsonLines([{ header: { block: 4 } }, ...many]));
    const cut = await refusal(packed.subarray(0, packed.length / 2));
    expect(cut).toMatch(/FILE:[0-9]{3,}: the gzip data is broken or cut off here/);
    expect(cut).toContain('copy or download the file again');
    packed.fill(0xff, packed.length / 2, packed.length / 2 + 40);
    expect(await refusal(packed)).toMatch(/FILE:[0-9]+: .*(gzip|JSON)/);
    expect(await refusal(Buffer.from([0x1f, 0x8b]))).toContain('FILE:1: the gzip data');
  });

  it('says where a plain file is cut off', async () => {
    const text = jsonLines([HEADER, FIRST, SECOND, THIRD]);
    expect(await refusal(text.slice(0, -20))).toMatch(/FILE:4: no JSON: .*cut off/);
    expect(await refusalOfLines(HEADER, FIRST, SECOND)).toBe(
      'pagedkv: FILE:3: the header promises 3 requests, here are 2; the file is cut off: copy it again',
    );
    expect(await refusalOfLines(HEADER)).toContain('FILE:1: the header promises 3');
    expect(await refusalOfLines(HEADER, FIRST, SECOND, THIRD, THIRD)).toContain(
      'FILE:5: the header promises 3 requests, here are 4; correct the header',
    );
  });

  it('says what is no trace', async () => {
    expect(await refusal('timestamp,in,out\n')).toContain('FILE:1: no JSON');
    expect(await refusal(Buffer.from([0, 1, 2, 0xff, 10, 3]))).toContain('FILE:1: no JSON');
    expect(await refusalOfLines(FIRST)).toContain('FILE:1: an object is no header');
    expect(await refusalOfLines([1, 2, 3])).toContain('FILE:1: an array is no header');
    expect(await refusalOfLines({ header: { fields: '[t_ms,in,out]' } }, [0, 1, 2])).toContain(
      'give it to pagedkv fragmentation',
    );
    expect(await refusalOfLines({ header: { block: 4 } })).toContain('nothing to replay');
  });

  it.each([
    [{ block: undefined }, "'block' is missing"],
    [{ block: 0 }, "'block' is 0; make it a whole number from 1 to 1024"],
    [{ block: 2048 }, "'block' is 2048; make it a whole number from 1 to 1024"],
    [{ block: '4' }, "'block' is '4'"],
    [{ requests: 2.5 }, "'requests' is 2.5"],
    [{ blocks: 0 }, "'blocks' is 0"],
    [{ blocks: null }, "'blocks' is null"],
  ])('says what a header with %j lacks', async (change, message) => {
    const header = { header: { ...HEADER.header, ...change } };
    expect(await refusalOfLines(header, FIRST, SECOND, THIRD)).toContain(`FILE:1: ${message}`);
  });

  it.each([
    [{ ...SECOND, t: undefined }, "'t' is missing; give it a number from 0"],
    [{ ...SECOND, t: '1' }, "'t' is '1'; make it a number from 0"],
    [{ ...SECOND, t: -1 }, "'t' is -1"],
    [{ ...SECOND, in: undefined }, "'in' is missing"],
    [{ ...SECOND, in: 1.5 }, "'in' is 1.5; make it a whole number from 0"],
    [{ ...SECOND, in: 1e300 }, "'in' is 1e+300"],
    [{ ...SECOND, out: undefined }, "'out' is missing"],
    [{ ...SECOND, out: null }, "'out' is null"],
    [{ ...SECOND, h: undefined }, "'h' is missing; give it an array"],
    [{ ...SECOND, h: { 0: 1 } }, "'h' is an object; make it an array"],
    [{ ...SECOND, h: [0, 1, 2] }, "'h' has 0; each of its parts is [first id, how many]"],
    [{ ...SECOND, h: [[0, 3, 1]] }, "'h' has [0,3,1]"],
    [{ ...SECOND, h: [[0, 0]] }, "'h' has [0,0]"],
    [{ ...SECOND, h: [[-1, 3]] }, "'h' has [-1,3]"],
    [{ ...SECOND, h: [[0, 2.5]] }, "'h' has [0,2.5]"],
    [{ ...SECOND, o: 3 }, "'o' is 3; make it an array"],
    [{ ...SECOND, s: -1 }, "'s' is -1; a session is"],
    [{ ...SECOND, stop: 3 }, "'stop' is 3; make it a string"],
    [[0, 1, 2], 'an array is no request'],
    [null, 'null is no request'],
    [{ ...SECOND, h: [[0, 2]] }, 'a prompt of 13 tokens with 2 blocks of 4; it has 3 or 4'],
    [{ ...SECOND, h: [[0, 1e15]] }, 'a prompt of 13 tokens with 1000000000000000 blocks of 4'],
    [{ ...SECOND, o: [[9, 3]] }, '6 blocks of 4 for 13 + 4 tokens; take the ids away'],
  ])('says what is wrong with the request %j', async (request, message) => {
    expect(await refusalOfSecond(request)).toContain(`pagedkv: FILE:3: ${message}`);
  });

  it('says where ids contradict each other', async () => {
    expect(
      await refusalOfSecond({
        ...SECOND,
        h: [
          [0, 1],
          [2, 2],
        ],
      }),
    ).toContain(
      'FILE:3: block 2 follows block 0 here, and follows block 1 before; an equal id means an equal prefix',
    );
    expect(await refusalOfSecond({ ...SECOND, h: [[1, 3]] })).toContain(
      'FILE:3: block 1 begins a chain here, and follows block 0 before',
    );
    expect(
      await refusalOfSecond({
        ...SECOND,
        h: [
          [9, 1],
          [0, 2],
        ],
      }),
    ).toContain('FILE:3: block 0 follows block 9 here, and begins a chain before');
    expect(
      await refusalOfSecond({
        ...SECOND,
        h: [
          [7, 2],
          [7, 1],
        ],
      }),
    ).toContain('FILE:3: block 7 stands twice in one chain; give the second an id of its own');
    expect(await refusalOfSecond({ ...SECOND, h: [[0, 3]], o: [[2, 1]] })).toContain(
      'FILE:3: block 2 stands twice in one chain',
    );
    const far = 2 ** 40;
    expect(
      await refusalOfSecond({
        ...SECOND,
        h: [
          [far, 1],
          [far, 1],
          [0, 1],
        ],
      }),
    ).toContain(`FILE:3: block ${far} stands twice in one chain`);
  });

  it('says where time goes back', async () => {
    expect(await refusalOfLines(HEADER, FIRST, THIRD, SECOND)).toContain(
      'FILE:4: a request at 1 ms after one at 2 ms; sort the requests by time',
    );
  });

  it("says the same of Mooncake's own lines", async () => {
    const line = { timestamp: 0, input_length: 600, output_length: 1, hash_ids: [0, 1] };
    const second = (change: object) => refusalOfLines(line, { ...line, ...change });
    expect(await second({ timestamp: 'x' })).toContain("FILE:2: 'timestamp' is 'x'");
    expect(await second({ input_length: undefined })).toContain(
      "FILE:2: 'input_length' is missing",
    );
    expect(await second({ hash_ids: undefined })).toContain("FILE:2: 'hash_ids' is missing");
    expect(await second({ hash_ids: [0, -5] })).toContain("FILE:2: 'hash_ids' has -5");
    expect(await second({ hash_ids: [0, 2 ** 60] })).toContain(
      "FILE:2: 'hash_ids' has 1152921504606847000",
    );
    expect(await second({ hash_ids: [1, 0] })).toContain('FILE:2: block 1 begins a chain here');
    expect(await second({ hash_ids: [0, 1, 2] })).toContain('600 tokens with 3 blocks of 512');
  });

  it.each([
    [['--percent', '0'], '--percent takes percents above 0 and up to 100'],
    [['--percent', '101'], '--percent takes percents above 0 and up to 100'],
    [['--percent', '5,-1'], "got '-1'"],
    [['--percent', '5,'], "got ''"],
    [['--percent', 'x'], "got 'x'"],
    [
      ['--percent', '10'],
      '--percent: 10% of the 6 blocks of bad is less than one: give at least 16.67',
    ],
    [['--percent', '50', '--blocks', '2'], 'give --percent or --blocks, not both'],
    [['--blocks', '0'], '--blocks takes a whole number from 1 to 16777216'],
    [['--blocks', '1.5'], "got '1.5'"],
    [['--host-percent', '0'], '--host-percent takes percents above 0'],
    [['--host-percent', '1'], '--host-percent: 1% of the 6 blocks of bad is less than one'],
    [['--host-percent', '20,50'], '--host-percent takes one size'],
    [['--host-blocks', '0'], '--host-blocks takes a whole number from 1'],
    [['--host-mode', 'none'], "--host-mode knows no 'none': there are exclusive, inclusive"],
    [['--policy', 'lfu'], "--policy knows no 'lfu'"],
    [['--policy', ''], "--policy knows no ''"],
    [['--percents', '5'], 'there is no option --percents; did you mean --percent?'],
    [['--percent'], "'--percent <value>' argument missing"],
    [['--percent', '50', '--percent', '20'], '--percent is given 2 times'],
    [['--svg', '/nowhere/chart.svg'], 'cannot write /nowhere/chart.svg: there is no folder'],
    [['another.jsonl'], 'one trace at a time'],
  ])('says what is wrong with the options %j', async (options, message) => {
    const text = jsonLines([HEADER, FIRST, SECOND, THIRD]);
    expect(await refusal(text, ...options)).toContain(message);
  });
});

describe('pagedkv', () => {
  it('says what it can do', async () => {
    for (const flag of ['--help', '-h']) {
      const { code, out } = await pagedkv(flag);
      expect(code).toBe(0);
      expect(out).toMatch(/Usage: pagedkv COMMAND[^]*replay/);
    }
    const { code, out } = await pagedkv('replay', '--help');
    expect(code).toBe(0);
    expect(out).toMatch(/Usage: pagedkv replay TRACE[^]*--percent P/);
  });

  it('says what it cannot do, with exit code 2', async () => {
    const unknown = await pagedkv('reply');
    expect(unknown.code).toBe(2);
    expect(unknown.err).toContain("there is no command 'reply'; did you mean replay?");
    expect((await pagedkv()).code).toBe(2);
    expect(await pagedkv('replay')).toMatchObject({ code: 2, out: '' });
  });
});
