// Readies this example: builds pagedkv, installs ONNX Runtime beside this file, and gets a software driver where
// no GPU has f16. Ends with 1, and says why, where one of them cannot be had.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLavapipe } from '../../scripts/lavapipe.mjs';
import { f16Environment } from '../../scripts/with-f16.mjs';

const here = dirname(fileURLToPath(import.meta.url));

/**
 * @param {string} command
 * @param {string[]} args
 */
function run(command, ...args) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: here, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${stdout}${stderr}\n${command} ${args.join(' ')} failed`);
}

try {
  run(process.execPath, '../../scripts/setup.mjs');
  if (!existsSync(join(here, 'node_modules/.package-lock.json'))) {
    // Its script would download what runs on CUDA.
    run('npm', 'ci', '--ignore-scripts');
  }
  if (f16Environment() === undefined) installLavapipe();
  if (f16Environment() === undefined) throw new Error('lavapipe was not accepted');
} catch (error) {
  console.error(`The example on ONNX Runtime cannot run here: ${String(error)}`);
  process.exitCode = 1;
}
