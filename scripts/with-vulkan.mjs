// Runs a command where WebGPU finds an adapter:
//
//   node scripts/with-vulkan.mjs node dist/bench/main.js
//
// A machine whose own drivers give Dawn an adapter is left alone. Elsewhere the Vulkan loader and the
// SwiftShader driver that ship in a development dependency are unpacked once and pointed at. The
// loader is looked up when a process starts, hence a parent that sets the environment.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const archive = join(root, 'node_modules/@sparticuz/chromium/bin/swiftshader.tar.br');
const folder = join(root, 'node_modules/.cache/pagedkv/swiftshader');

// Exits with 0 where there is an adapter with all features that are named. A global, because Dawn crashes once
// what `create` returned is collected, and a variable that is not read again does not keep it.
const probe = `
  import { create } from 'webgpu';
  globalThis.gpu = create([]);
  const adapter = await gpu.requestAdapter();
  const features = process.argv.slice(1);
  process.exit(adapter && features.every((name) => adapter.features.has(name)) ? 0 : 1);`;

/**
 * Whether a process with `extra` in its environment finds a WebGPU adapter.
 *
 * @param {Record<string, string>} [extra]
 * @param {GPUFeatureName[]} features that it must have
 */
export function hasAdapter(extra, ...features) {
  const args = ['--input-type=module', '--eval', probe, ...features];
  const { status } = spawnSync(process.execPath, args, {
    cwd: root,
    env: { ...process.env, ...extra },
    stdio: 'ignore',
  });
  return status === 0;
}

/**
 * Runs a command as the last thing that this process does, and ends as the command does.
 *
 * @param {Record<string, string>} extra for its environment
 * @param {string[]} words
 */
export function runIn(extra, words) {
  const [command = '', ...args] = words;
  const env = { ...process.env, ...extra };
  const { error, signal, status } = spawnSync(command, args, { env, stdio: 'inherit' });
  if (error) throw error;
  process.exitCode = status ?? 128 + (signal ? constants.signals[signal] : 0);
}

/** Unpacked beside its place and renamed into it, so that two processes may do it at once. */
function unpackSwiftShader() {
  if (existsSync(folder)) return;
  mkdirSync(dirname(folder), { recursive: true });
  const staging = mkdtempSync(`${folder}-`);
  try {
    const input = brotliDecompressSync(readFileSync(archive));
    const { status, stderr } = spawnSync('tar', ['-x', '-C', staging], { input });
    if (status !== 0) throw new Error(`cannot unpack ${archive}: ${String(stderr)}`);
    renameSync(staging, folder);
  } catch (error) {
    rmSync(staging, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
}

/**
 * What to add to a process's environment so that it finds a WebGPU adapter: nothing where there is one
 * already, and nothing, with a warning, where there is none to be had. A driver that the user named is
 * kept, and only a missing loader is added.
 *
 * @returns {Record<string, string>}
 */
export function vulkanEnvironment() {
  if (hasAdapter()) return {};
  const { LD_LIBRARY_PATH, VK_DRIVER_FILES, VK_ICD_FILENAMES, XDG_RUNTIME_DIR } = process.env;
  /** @type {Record<string, string>} */
  const extra = {
    LD_LIBRARY_PATH: LD_LIBRARY_PATH ? `${LD_LIBRARY_PATH}:${folder}` : folder,
    XDG_RUNTIME_DIR: XDG_RUNTIME_DIR ?? tmpdir(),
  };
  if (!VK_DRIVER_FILES && !VK_ICD_FILENAMES) {
    extra.VK_ICD_FILENAMES = join(folder, 'vk_swiftshader_icd.json');
  }
  let reason = 'the SwiftShader driver was not accepted';
  try {
    unpackSwiftShader();
    if (hasAdapter(extra)) return extra;
  } catch (error) {
    reason = String(error);
  }
  console.warn(`No WebGPU adapter here (${reason}): going on with host memory alone.`);
  return {};
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  runIn(vulkanEnvironment(), process.argv.slice(2));
}
