import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pagedkv } from './cli.helpers.js';

const ROOT = join(import.meta.dirname, '..');
const MAIN = join(ROOT, 'dist/src/cli/main.js');
const MINUTES = 60_000;

/** As in a shell in which nobody has said where drivers are. */
function plainEnvironment(): NodeJS.ProcessEnv {
  const environment = { ...process.env };
  for (const name of ['LD_LIBRARY_PATH', 'VK_DRIVER_FILES', 'VK_ICD_FILENAMES']) {
    Reflect.deleteProperty(environment, name);
  }
  return environment;
}

describe('pagedkv bench swap', () => {
  it(
    'prints one array of figures, with those of software Vulkan where the machine has no driver',
    () => {
      expect(existsSync(MAIN), 'npm run build').toBe(true);
      const args = [MAIN, 'bench', 'swap', '--json', '--turns', '1'];
      const { status, stdout, stderr } = spawnSync(process.execPath, args, {
        cwd: ROOT,
        env: plainEnvironment(),
        encoding: 'utf8',
      });
      expect(status, stderr).toBe(0);
      const lines = JSON.parse(stdout) as Record<string, unknown>[];
      for (const line of lines) {
        expect(Object.keys(line)).toEqual(['name', 'value', 'unit', 'yardstick', 'ratio']);
        expect(line.ratio).not.toBeNaN();
      }
      const names = lines.map(({ name }) => String(name)).join('\n');
      for (const begin of ['gather', 'f16 to int8', 'host swap out', 'relative L2 error of K']) {
        expect(names).toContain(begin);
      }
      const isSkipped = /^skipped swaps in GPU memory/m.test(stderr);
      if (isSkipped) expect(stderr).toContain('npm install');
      else expect(names).toMatch(/swap in 1000 [^]*encode 4096 moves [^]*JavaScript blocked/);
    },
    5 * MINUTES,
  );

  it.each([
    [['bench'], 'what to measure'],
    [['bench', 'swap', 'fast'], "what is 'fast'"],
    [['bench', 'swap', '--turns', '0'], '--turns takes a whole number from 1'],
    [['bench', 'swap', '--jsn'], 'did you mean --json'],
  ])('refuses %j', async (args, message) => {
    const { code, out, err } = await pagedkv(...args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain(message);
  });
});
