// Runs a command where WebGPU finds an adapter:
//
//   node scripts/with-vulkan.mjs node dist/bench/main.js
//
// A machine whose own drivers give Dawn an adapter is left alone. Elsewhere the process gets an
// environment in which software Vulkan is found: src/cli/software-vulkan.ts tells how. Needs dist/.
import { spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { hasAdapter, softwareVulkan } from '../dist/src/cli/software-vulkan.js';

/**
 * Runs a command as the last thing that this process does, and ends as the command does.
 *
 * @param {Readonly<Record<string, string>>} extra for its environment
 * @param {string[]} words
 */
export function runIn(extra, words) {
  const [command = '', ...args] = words;
  const env = { ...process.env, ...extra };
  const { error, signal, status } = spawnSync(command, args, { env, stdio: 'inherit' });
  if (error) throw error;
  process.exitCode = status ?? 128 + (signal ? constants.signals[signal] : 0);
}

/**
 * What to add to a process's environment so that it finds a WebGPU adapter: nothing where there is one
 * already, and nothing, with a warning, where there is none to be had.
 *
 * @returns {Readonly<Record<string, string>>}
 */
export function vulkanEnvironment() {
  if (hasAdapter()) return {};
  const found = softwareVulkan();
  if (found.ok) return found.environment;
  console.warn(`No WebGPU adapter here (${found.reason}): going on with host memory alone.`);
  return {};
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  runIn(vulkanEnvironment(), process.argv.slice(2));
}
