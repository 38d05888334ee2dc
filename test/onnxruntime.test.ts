import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { f16Environment } from '../scripts/with-f16.mjs';

const root = join(import.meta.dirname, '..');
/** Minutes on a software driver, whose compiler is slow the first time. */
const MOST_TIME = 900_000;

const isInstalled = existsSync(
  join(root, 'examples/onnxruntime/node_modules/onnxruntime-node/package.json'),
);
const environment = isInstalled ? f16Environment() : undefined;

/** In a process of its own: a driver is looked up when a process starts. */
function runExample(...args: readonly string[]) {
  return spawnSync(process.execPath, ['dist/examples/onnxruntime/main.js', '--json', ...args], {
    cwd: root,
    env: { ...process.env, ...environment },
    encoding: 'utf8',
  });
}

function outcomeOf(...args: readonly string[]): unknown {
  const { stdout, stderr } = runExample(...args);
  if (!stdout.startsWith('{')) throw new Error(`the example failed: ${stderr}`);
  return JSON.parse(stdout);
}

describe('an engine on ONNX Runtime', () => {
  if (environment === undefined) {
    const reason = isInstalled
      ? 'no WebGPU adapter here has f16'
      : 'its packages are not installed';
    it.skip(`was not tested, as ${reason}: node examples/onnxruntime/setup.mjs`);
    return;
  }

  it(
    'writes what a plain one writes, through sharing, forks, edits and swaps',
    { timeout: MOST_TIME },
    () => {
      expect(outcomeOf()).toMatchObject({
        verified: true,
        comparison: { tokens: 168, different: [] },
        // Those that come later find the words that all prompts begin with; the echo all but its last token.
        cached: { ants: 0, bees: 80, owls: 80, echo: 95, hares: 80 },
        // For the echo, for the fork, and for the edit within a block that others may find.
        stats: { forks: 1, copiesOnWrite: 3, swappedOutBlocks: 3, swappedInBlocks: 3 },
      });
    },
  );

  it.each(['1', '3'])('does so from other weights (seed %s)', { timeout: MOST_TIME }, (seed) => {
    expect(outcomeOf('--seed', seed)).toMatchObject({ verified: true });
  });

  it('is told apart once a block was overwritten', { timeout: MOST_TIME }, () => {
    const { status, stdout } = runExample('--corrupt');
    expect({ status, stdout }).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('"verified":false'),
    });
  });
});
