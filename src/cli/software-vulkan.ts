/**
 * A WebGPU adapter where the machine's own drivers offer none: the Vulkan loader and the SwiftShader driver that
 * ship in a package made for headless browsers, unpacked once. A loader is looked up when a process starts, so
 * what is found here is an environment for another one.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';

/** The package that has the driver; with `npm install` it is there, as it is wherever pagedkv is developed. */
export const DRIVER_PACKAGE = '@sparticuz/chromium';
const ARCHIVE = 'bin/swiftshader.tar.br';

export type Environment = Readonly<Record<string, string>>;

/** What to add to a process's environment, or why nothing helps. */
export type SoftwareVulkan =
  | { readonly ok: true; readonly environment: Environment }
  | { readonly ok: false; readonly reason: string };

/**
 * Finds the driver and tries it. A driver that the user named is kept, and only a missing loader is added.
 * Takes a second, and some more the first time.
 */
export function softwareVulkan(): SoftwareVulkan {
  if (process.env[RERUN] !== undefined) return { ok: false, reason: 'it was tried' };
  try {
    const environment = environmentOf(unpacked(driverFolder()));
    if (hasAdapter(environment)) return { ok: true, environment };
    return { ok: false, reason: 'the SwiftShader driver was not accepted' };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Set for the process that has the environment. */
const RERUN = 'PAGEDKV_SOFTWARE_VULKAN';

/** Runs this command again, as another process with these variables, too, and ends this one as that one ends. */
export function rerunWith(environment: Environment): never {
  const { error, signal, status } = spawnSync(
    process.execPath,
    [...process.execArgv, ...process.argv.slice(1)],
    { env: { ...process.env, ...environment, [RERUN]: '1' }, stdio: 'inherit' },
  );
  if (error) throw error;
  process.exit(status ?? 128 + (signal === null ? 0 : constants.signals[signal]));
}

/** Exits with 0 where there is such an adapter. A global, as Dawn crashes once what `create` returned is collected. */
const PROBE = `
  import { create } from 'webgpu';
  globalThis.gpu = create([]);
  const adapter = await gpu.requestAdapter();
  const features = process.argv.slice(1);
  process.exit(adapter && features.every((name) => adapter.features.has(name)) ? 0 : 1);`;

/** Whether a process with these variables, too, finds an adapter with these features. Takes about half a second. */
export function hasAdapter(
  extra: Environment = {},
  ...features: readonly GPUFeatureName[]
): boolean {
  const args = ['--input-type=module', '--eval', PROBE, ...features];
  const { status } = spawnSync(process.execPath, args, {
    cwd: import.meta.dirname,
    env: { ...process.env, ...extra },
    stdio: 'ignore',
  });
  return status === 0;
}

/** Throws where the package is not installed. */
function driverFolder(): string {
  const { resolve } = createRequire(import.meta.url);
  let at = dirname(resolve(DRIVER_PACKAGE));
  while (!existsSync(join(at, ARCHIVE))) {
    const above = dirname(at);
    if (above === at) throw new Error(`${DRIVER_PACKAGE} has no ${ARCHIVE}`);
    at = above;
  }
  return at;
}

/** The folder of the unpacked driver: beside its place and renamed into it, so that two processes may do it at once. */
function unpacked(packageFolder: string): string {
  const modules = join(packageFolder, '../..');
  const folder = join(modules, '.cache/pagedkv/swiftshader');
  if (existsSync(folder)) return folder;
  const archive = join(packageFolder, ARCHIVE);
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
  return folder;
}

function environmentOf(folder: string): Environment {
  const { LD_LIBRARY_PATH, VK_DRIVER_FILES, VK_ICD_FILENAMES, XDG_RUNTIME_DIR } = process.env;
  const environment: Record<string, string> = {
    LD_LIBRARY_PATH: LD_LIBRARY_PATH ? `${LD_LIBRARY_PATH}:${folder}` : folder,
    XDG_RUNTIME_DIR: XDG_RUNTIME_DIR ?? tmpdir(),
  };
  if (!VK_DRIVER_FILES && !VK_ICD_FILENAMES) {
    environment.VK_ICD_FILENAMES = join(folder, 'vk_swiftshader_icd.json');
  }
  return environment;
}
