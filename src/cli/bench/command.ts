/** `pagedkv bench swap`: how fast blocks move between the tiers, each figure against a yardstick of the same run. */
import { PagedKvError } from '../../errors.js';
import { requestDevice } from '../../device/webgpu.js';
import type { Command } from '../command.js';
import { CliError } from '../errors.js';
import { optionLines, parseOptions, type OptionSpecs } from '../options.js';
import { Progress } from '../progress.js';
import { table } from '../table.js';
import { measureArena } from './arena.js';
import { measureBlocking } from './blocking.js';
import { measureEncoding } from './encode.js';
import type { Line } from './line.js';
import { measureGpuSwap } from './swap-webgpu.js';

const SPECS = {
  json: { type: 'boolean', help: 'print one JSON array: name, value, unit, yardstick, ratio' },
  help: { type: 'boolean', help: 'print this' },
} as const satisfies OptionSpecs;

const usage = [
  'Usage: pagedkv bench swap [OPTIONS]',
  '',
  'Moves blocks between the tiers, on the host and, where there is a WebGPU adapter, on it, and holds each',
  'figure against a yardstick measured in turn with it.',
  '',
  ...optionLines(SPECS),
].join('\n');

export const benchCommand: Command = {
  name: 'bench',
  summary: 'measures how fast blocks move between the tiers',
  usage,
  run,
};

type Measure = () => Promise<readonly Line[]>;

async function run([subject, ...args]: readonly string[]): Promise<void> {
  if (subject !== 'swap') throw new CliError('what to measure? pagedkv bench swap');
  const { values, positionals } = parseOptions(SPECS, args);
  if (positionals.length > 0) throw new CliError(`what is '${positionals[0]!}'?`);
  const progress = new Progress(values.json === true);
  const measures: Measure[] = [() => measureArena(), ...(await gpuMeasures())];
  const lines: Line[] = [];
  for (const [i, measure] of measures.entries()) {
    progress.show(() => `measuring, ${i + 1} of ${measures.length}`);
    lines.push(...(await measure()));
  }
  progress.clear();
  console.log(values.json === true ? JSON.stringify(lines) : toTable(lines));
}

/** None, and a word on why, where there is no adapter. */
async function gpuMeasures(): Promise<Measure[]> {
  try {
    const device = await requestDevice();
    return [
      () => measureGpuSwap(device),
      async () => [await measureEncoding(device)],
      async () => [await measureBlocking(device)],
    ];
  } catch (error) {
    if (!(error instanceof PagedKvError)) throw error;
    console.error(`without a GPU: ${error.message}`);
    return [];
  }
}

function toTable(lines: readonly Line[]): string {
  const rows = lines.map(({ name, value, unit, yardstick, ratio }) => [
    name,
    yardstick,
    `${value.toFixed(2)} ${unit}`,
    ratio.toFixed(2),
  ]);
  return table([['measured', 'against', 'value', 'ratio'], ...rows], 2);
}
