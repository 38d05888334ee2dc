import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const example = /```js\n([^]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1] ?? '';

describe('the example in the README', () => {
  it('has about 30 lines', () => {
    const lines = example.split('\n').filter((line) => line.trim() !== '');
    expect(lines.length).toBeGreaterThan(20);
    expect(lines.length).toBeLessThanOrEqual(35);
  });

  it('runs, and prints what its comments say', () => {
    // Inside the package, so that it finds `pagedkv` by its name.
    const folder = mkdtempSync(join(root, 'build', 'readme-'));
    try {
      const file = join(folder, 'example.mjs');
      writeFileSync(file, example);
      const printed = execFileSync(process.execPath, [file], { encoding: 'utf8' }).trim();
      const promised = [...example.matchAll(/\/\/ (\d+ of \d+ tokens .*)/g)].map(
        ([, line]) => line,
      );
      expect(promised).toHaveLength(2);
      expect(printed.split('\n')).toEqual(promised);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
