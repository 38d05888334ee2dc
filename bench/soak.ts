/**
 * A long soak on a virtual clock: an engine serves for so many hours, with everything that can go wrong, and must end
 * with the memory that it began with.
 *
 *   npm run soak -- [--hours 24] [--seed 1] [--rounds 24] [--eviction lru|adaptive|arc] [TRACE]
 *
 * Without a trace, traffic is drawn from the seed. Exit code 1: something was left, or grew.
 */
import { parseArgs } from 'node:util';
import { readTrace } from '../src/cli/replay/read-trace.js';
import { readChoice } from '../src/validate.js';
import { MAX_TOKENS, soak, type Memory, type SoakResult } from './soak/soak.js';
import { GeneratedTraffic, TraceTraffic, type Traffic } from './soak/traffic.js';

const MIB = 2 ** 20;

/** What may have grown, and by how much: pages that are resident come and go. Bytes. */
const SLACK: Memory = { heap: MIB, external: MIB / 16, native: MIB / 2, resident: 8 * MIB };

const { values, positionals } = parseArgs({
  options: {
    hours: { type: 'string', default: '24' },
    rounds: { type: 'string', default: '24' },
    seed: { type: 'string', default: '1' },
    eviction: { type: 'string', default: 'lru' },
  },
  allowPositionals: true,
});
const [hours, rounds, seed] = [values.hours, values.rounds, values.seed].map(Number);
if (!(hours! > 0 && rounds! >= 1 && seed! >= 0)) {
  throw new Error('--hours, --rounds and --seed are numbers: see bench/soak.ts');
}
const begin = performance.now();
const result = await soak({
  seed: seed!,
  hours: hours!,
  rounds: rounds!,
  traffic: await trafficOf(positionals[0]),
  eviction: readChoice('eviction', values.eviction, ['lru', 'adaptive', 'arc']),
  onRound: (round, memory) => {
    console.error(`round ${round}: ${describe(memory)}`);
  },
});
report(result, (performance.now() - begin) / 1000);

async function trafficOf(path: string | undefined): Promise<Traffic> {
  if (path === undefined) return new GeneratedTraffic(seed!, MAX_TOKENS);
  const { trace } = await readTrace(path, () => undefined);
  return new TraceTraffic(trace, seed!, MAX_TOKENS);
}

function report(soaked: SoakResult, seconds: number): void {
  const { operations, faults, moved, grown, digest } = soaked;
  console.log(`seed ${seed}, ${soaked.hours.toFixed(2)} hours in ${seconds.toFixed(0)} s`);
  for (const [name, counts] of Object.entries({ operations, faults, moved })) {
    const listed = Object.entries(counts).map(([what, count]) => `${count} ${what}`);
    console.log(`  ${name.padEnd(12)}${listed.join(', ')}`);
  }
  const kinds = Object.keys(SLACK) as (keyof Memory)[];
  const isSteady = kinds.every((kind) => grown[kind] <= SLACK[kind]);
  console.log(`  ${'grown by'.padEnd(12)}${describe(grown)}${isSteady ? '' : ': TOO MUCH'}`);
  console.log(`  ${'digest'.padEnd(12)}${digest}`);
  if (!isSteady) process.exitCode = 1;
}

function describe(memory: Memory): string {
  const kinds = Object.entries(memory) as [string, number][];
  return kinds.map(([kind, bytes]) => `${(bytes / MIB).toFixed(2)} MiB ${kind}`).join(', ');
}
