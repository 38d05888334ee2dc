/**
 * The benchmark:
 *
 *   npm run bench -- [--quick] [--json] [--filter NAME] [--million]
 *
 * Each operation goes through the public API, and is held against a yardstick of the same minute. Answers are
 * checked; times never are, as machines differ: read the ratios. A name is a part of an operation's, or
 * `memory` or `garbage`. A million steps that keep no memory are taken where that is done in 20 seconds, or
 * where they are asked for.
 */
import { cpus, freemem } from 'node:os';
import { parseArgs } from 'node:util';
import type { Case } from './case.js';
import { cachedCases } from './cases/cached.js';
import { computedCases } from './cases/computed.js';
import { decodeCases } from './cases/decode.js';
import { metadataCases } from './cases/metadata.js';
import { evictionCases } from './cases/eviction.js';
import { sequenceCases } from './cases/sequences.js';
import { turnCases } from './cases/turns.js';
import { measureGarbage, type Garbage } from './garbage.js';
import { clockCost, measureCase, type Effort, type Result } from './measure.js';
import { measureMemory, type Memory } from './memory.js';
import { differenceLines, garbageLines, memoryLines, timesTable } from './report.js';

const CASES: readonly Case[] = [
  ...decodeCases,
  ...metadataCases,
  ...cachedCases,
  ...computedCases,
  ...sequenceCases,
  ...turnCases,
  ...evictionCases,
];

const THOROUGH: Effort = { seconds: 0.1, turns: 5 };
const QUICK: Effort = { seconds: 0.02, turns: 3 };

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    million: { type: 'boolean', default: false },
    filter: { type: 'string', default: '' },
  },
});

function isAskedFor(name: string): boolean {
  return name.toLowerCase().includes(options.filter.toLowerCase());
}

/** How long a million steps may take. */
function millionSeconds(): number {
  if (options.million) return Infinity;
  return options.quick ? 0 : 20;
}

const effort = options.quick ? QUICK : THOROUGH;
const memory: readonly Memory[] = isAskedFor('memory')
  ? await measureMemory(options.quick ? 2 ** 18 : 2 ** 20)
  : [];
const garbage: readonly Garbage[] = isAskedFor('garbage')
  ? await measureGarbage(millionSeconds())
  : [];
const clock = clockCost(effort);
const results: Result[] = [];
const leftOut: string[] = [];
for (const each of CASES.filter(({ name }) => isAskedFor(name))) {
  gc!();
  if ((each.bytes ?? 0) > freemem()) leftOut.push(each.name);
  else results.push(measureCase(each, effort));
}

if (results.length + leftOut.length + memory.length + garbage.length === 0) {
  throw new Error(`nothing is named '${options.filter}'`);
}
const machine = `${cpus()[0]!.model.trim()} x ${cpus().length}, Node ${process.version}`;
if (options.json) {
  console.log(JSON.stringify({ machine, clock, results, leftOut, memory, garbage }, undefined, 2));
} else {
  console.log(`${machine}. Times in µs; the clock itself takes ${clock.toFixed(2)} of each.\n`);
  if (results.length > 0) console.log(`${timesTable(results)}\n`);
  for (const name of leftOut) console.log(`left out for lack of memory: ${name}`);
  const differences = differenceLines(results);
  if (differences !== '') console.log(`Evictions, as differences:\n${differences}\n`);
  if (memory.length > 0) console.log(`${memoryLines(memory)}\n`);
  if (garbage.length > 0) console.log(garbageLines(garbage));
}
