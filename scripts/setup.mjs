// Readies a checkout for `npm start`, `npm test` and `npm run bench`: installs what is missing and
// brings the addon and dist/ up to date. Silent unless something fails, so that a script's own output
// stays its own.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const root = new URL('..', import.meta.url);
const isInstalled = existsSync(new URL('node_modules/.package-lock.json', root));
const command = isInstalled ? 'npm run build' : 'npm ci'; // an install builds both, too
const { status, stdout, stderr } = spawnSync(command, { cwd: root, shell: true, encoding: 'utf8' });
if (status !== 0) {
  console.error(`${stdout}${stderr}\n${command} failed`);
  process.exitCode = 1;
}
