// How many instructions an eviction takes, by policy and size of the pool:
//
//   npm run bench:instructions
//
// Counted by callgrind, as time tells of the caches more than of the algorithm. What a chat takes where each of
// its blocks evicts one, less what it takes where none does, is what evictions take. Ends with 1 where that
// grows with the pool.
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const build = join(root, 'build/instructions');
const target = 'eviction_instructions';
const policies = ['lru', 'arc', 'adaptive'];
const sizes = [1e3, 1e4, 1e5, 1e6];
/** What the largest pool may take, of what the smallest takes. */
const most = 1.1;

if (spawnSync('valgrind', ['--version']).status !== 0) {
  console.error(
    'This counts instructions with valgrind, which is not installed: apt-get install valgrind',
  );
  process.exit(2);
}

for (const args of [
  ['-S', '.', '-B', build, '-DCMAKE_BUILD_TYPE=Release'],
  ['--build', build, '--target', target],
]) {
  execFileSync('cmake', args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
}

/** @param {string} policy @param {number} blocks 0: none is evicted */
function count(policy, blocks) {
  const { stdout, stderr, status } = spawnSync(
    'valgrind',
    [
      '--tool=callgrind',
      '--callgrind-out-file=/dev/null',
      '--collect-atstart=no',
      '--toggle-collect=*ComputeChat*',
      join(build, target),
      policy,
      String(blocks),
    ],
    { encoding: 'utf8' },
  );
  const collected = /Collected\s*:\s*(\d+)/.exec(stderr);
  const counted = /(\d+) blocks computed, (\d+) evicted/.exec(stdout);
  if (status !== 0 || !collected || !counted) throw new Error(`valgrind failed:\n${stderr}`);
  const [computed, evicted] = [Number(counted[1]), Number(counted[2])];
  if (evicted !== (blocks === 0 ? 0 : computed)) throw new Error(stdout);
  return Number(collected[1]) / computed;
}

/** @param {string[]} cells */
function row(cells) {
  console.log(cells.map((cell, i) => (i === 0 ? cell.padEnd(10) : cell.padStart(11))).join(''));
}

console.log('Instructions an eviction, by blocks in the pool, last used in random order:\n');
row(['', ...sizes.map((size) => size.toLocaleString('en')), 'growth']);
let grows = false;
for (const policy of policies) {
  const none = count(policy, 0);
  const evictions = sizes.map((size) => count(policy, size) - none);
  const growth = Number(evictions.at(-1)) / Number(evictions[0]);
  grows ||= growth > most;
  row([
    policy,
    ...evictions.map((each) => each.toFixed(0)),
    `${((growth - 1) * 100).toFixed(1)} %`,
  ]);
}
if (grows) {
  console.error(`\nIt grows with the pool, by more than ${((most - 1) * 100).toFixed(0)} %.`);
  process.exit(1);
}
