import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
/** Without indentation. */
const plain = (code: string): string => code.replace(/^ +/gm, '').trim();

const guide = read('docs/integrate.md');
const quotations = [...guide.matchAll(/<!-- (\S+) -->\n```ts\n([^]*?)```/g)].map(
  ([, path, code]) => ({ path: path!, code: plain(code!), line: plain(code!).split('\n')[0] }),
);

describe('the guide to putting pagedkv under an engine', () => {
  it('has six steps, and quotes code in each', () => {
    const steps = guide.split(/^## /m).slice(1);
    expect(steps.map((step) => step[0])).toEqual(['1', '2', '3', '4', '5', '6']);
    for (const step of steps) expect(step).toContain('```ts');
    expect(quotations).toHaveLength(guide.split('```ts').length - 1);
  });

  it.each(quotations)('quotes $path as it is, from `$line` on', ({ path, code }) => {
    expect(plain(read(path))).toContain(code);
  });
});
