// Lavapipe, Mesa's Vulkan driver for CPUs, in a folder of this checkout: the one software driver that has f16.
//
// Debian 12 has too old a Mesa, so it is taken from Debian's backports, from the mirror that this machine uses.
// apt works on files of its own and only downloads; dpkg unpacks. The system stays as it is.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'build/lavapipe');
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
const packages = ['mesa-vulkan-drivers', 'libvulkan1'];

/**
 * What to add to a process's environment so that it finds the driver, once it is unpacked.
 *
 * @returns {Record<string, string> | undefined}
 */
export function lavapipeEnvironment() {
  if (!existsSync(folder)) return undefined;
  const { LD_LIBRARY_PATH, XDG_RUNTIME_DIR } = process.env;
  const libraries = dirname(find('usr/lib', /^libvulkan_lvp\.so$/));
  return {
    LD_LIBRARY_PATH: LD_LIBRARY_PATH ? libraries + delimiter + LD_LIBRARY_PATH : libraries,
    VK_ICD_FILENAMES: find('usr/share/vulkan/icd.d', /^lvp_icd.*\.json$/),
    XDG_RUNTIME_DIR: XDG_RUNTIME_DIR ?? tmpdir(),
    // To compile a model's shaders takes minutes; they are kept where the driver is.
    MESA_SHADER_CACHE_DIR: join(folder, 'shaders'),
  };
}

/**
 * Downloads the driver, 22 MB, unless it is there. Throws where it cannot be had, and leaves nothing behind.
 * Unpacked beside its place and renamed into it, so that two processes may do it at once.
 */
export function installLavapipe() {
  if (existsSync(folder)) return;
  mkdirSync(dirname(folder), { recursive: true });
  const staging = mkdtempSync(`${folder}-`);
  try {
    const apt = aptIn(join(staging, 'apt'));
    apt('update');
    const suite = `${codename()}-backports`;
    apt('install', '--download-only', '--no-install-recommends', '-t', suite, ...packages);
    const archives = join(staging, 'apt/archives');
    for (const name of readdirSync(archives).filter((file) => file.endsWith('.deb'))) {
      execFileSync('dpkg', ['-x', join(archives, name), staging]);
    }
    rmSync(join(staging, 'apt'), { recursive: true });
    renameSync(staging, folder);
  } catch (error) {
    rmSync(staging, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
}

/**
 * An apt-get that works in `own` alone. It knows what is installed, so as to download only what is missing.
 *
 * @param {string} own
 */
function aptIn(own) {
  for (const path of ['lists/partial', 'archives/partial']) {
    mkdirSync(join(own, path), { recursive: true });
  }
  const release = codename();
  const sources = [
    'Types: deb',
    `URIs: ${mirrorOf(release)}`,
    `Suites: ${release} ${release}-backports`,
    'Components: main',
    `Signed-By: ${keyring}`,
  ];
  writeFileSync(join(own, 'own.sources'), sources.join('\n') + '\n');
  const settings = [
    // Some machines clean up after apt, in the system's folders.
    ...['APT::Update::Pre-Invoke', 'APT::Update::Post-Invoke', 'DPkg::Post-Invoke'].map(
      (list) => `#clear ${list}`,
    ),
    '#clear APT::Update::Post-Invoke-Success',
    `Dir::Etc::SourceList "${join(own, 'own.sources')}"`,
    'Dir::Etc::SourceParts "/dev/null"',
    `Dir::State::Lists "${join(own, 'lists')}"`,
    `Dir::Cache "${own}"`,
    `Dir::Cache::Archives "${join(own, 'archives')}"`,
    'Acquire::Languages "none"',
    'APT::Sandbox::User "root"',
    'Debug::NoLocking "true"',
  ];
  const config = join(own, 'apt.conf');
  writeFileSync(config, settings.map((line) => `${line};\n`).join(''));
  return (/** @type {string[]} */ ...args) => {
    execFileSync('apt-get', ['-c', config, '-qq', '-y', ...args], { stdio: 'pipe' });
  };
}

/** Of this Debian; throws on any other system. */
function codename() {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  const name = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1];
  if (!/^ID=debian$/m.test(release) || name === undefined || !existsSync(keyring)) {
    throw new Error('lavapipe is downloaded on Debian only: install Mesa 25');
  }
  return name;
}

/**
 * Where this machine takes its packages from.
 *
 * @param {string} release
 */
function mirrorOf(release) {
  const indexes = execFileSync('apt-get', ['update', '--print-uris'], { encoding: 'utf8' });
  const mirror = new RegExp(`^'(\\S+)/dists/${release}/InRelease'`, 'm').exec(indexes)?.[1];
  if (mirror === undefined) throw new Error(`apt knows no mirror that has ${release}`);
  return mirror;
}

/**
 * @param {string} under
 * @param {RegExp} name
 */
function find(under, name) {
  const entries = readdirSync(join(folder, under), { recursive: true, withFileTypes: true });
  const entry = entries.find((file) => name.test(file.name));
  if (entry === undefined) throw new Error(`no ${String(name)} in ${folder}: remove that folder`);
  return join(entry.parentPath, entry.name);
}
