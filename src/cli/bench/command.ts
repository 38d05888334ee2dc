/** `pagedkv bench swap`: how fast blocks move between the tiers, each figure against a yardstick of the same run. */
import { PagedKvError } from '../../errors.js';
import { pickDevice, type PickedDevice } from '../../device/webgpu.js';
import type { Command } from '../command.js';
import { CliError } from '../errors.js';
import { optionLines, parseOptions, readCount, type OptionSpecs } from '../options.js';
import { Progress } from '../progress.js';
import { DRIVER_PACKAGE, rerunWith, softwareVulkan } from '../software-vulkan.js';
import { table } from '../table.js';
import { measureAccuracy } from './accuracy.js';
import { measureArena } from './arena.js';
import { measureBlocking } from './blocking.js';
import { measureDecoding } from './decoding.js';
import { measureEncoding } from './encode.js';
import type { Line } from './line.js';
import { measureHostSwap } from './swap-host.js';
import { measureGpuSwap } from './swap-webgpu.js';
import { generateTrace } from './generated-trace.js';
import { Noise } from './machine.js';
import { measureRecompute, RATIOS, recomputeLines } from './recompute.js';

const MOST_TURNS = 10_000;

const CHOICES = { seed: 1, requests: 4000 } as const;

const SPECS = {
  json: { type: 'boolean', help: 'print one JSON array: name, value, unit, yardstick, ratio' },
  turns: {
    type: 'string',
    value: 'N',
    help: 'turns of each figure: fewer are faster, more are truer',
  },
  help: { type: 'boolean', help: 'print this' },
} as const satisfies OptionSpecs;

const usage = [
  'Usage: pagedkv bench swap [OPTIONS]',
  '',
  'Moves blocks between the tiers, on the host and, where there is a WebGPU adapter, on it: software Vulkan',
  `where the package ${DRIVER_PACKAGE} is installed and nothing else is there. Each figure is measured in`,
  'turn with its yardstick, once both are warm.',
  '',
  "ratio: of the figure to its yardstick's, the median of all turns. Of rates, more is better; where the",
  'yardstick is a limit, at most 1 keeps it.',
  '',
  ...optionLines(SPECS),
].join('\n');

export const benchCommand: Command = {
  name: 'bench',
  summary: 'measures how fast blocks move between the tiers',
  usage,
  run,
};

/** Some lines, of so many turns; as many as each needs where that is not given. */
interface Measure {
  /** In a few words, for those who do not get them. */
  readonly what: string;
  readonly run: (turns: number | undefined) => Promise<readonly Line[]>;
}

const ON_HOST: readonly Measure[] = [
  { what: 'the host arena', run: measureArena },
  { what: 'swaps in host memory', run: measureHostSwap },
  { what: 'the errors of int8', run: () => measureAccuracy() },
  { what: 'swap or recompute', run: measureChoices },
];

/** On a virtual clock, over a generated trace. */
// eslint-disable-next-line @typescript-eslint/require-await -- others have to wait
async function measureChoices(): Promise<readonly Line[]> {
  const noise = new Noise(CHOICES.seed, 0);
  const trace = generateTrace(CHOICES.requests, () => noise.next());
  return recomputeLines(trace, measureRecompute(trace, RATIOS, CHOICES.seed));
}

interface GpuMeasure {
  readonly what: string;
  readonly run: (device: GPUDevice, turns: number | undefined) => Promise<readonly Line[]>;
}

const ON_ANY_GPU: readonly GpuMeasure[] = [
  { what: 'swaps in GPU memory', run: (device, turns) => measureGpuSwap(device, { turns }) },
  {
    what: 'swaps of one plane in GPU memory',
    run: (device, turns) => measureGpuSwap(device, { planesPerLayer: 1, turns }),
  },
  {
    what: 'encoding on the kernel path',
    run: async (device, turns) => [await measureEncoding(device, turns)],
  },
  {
    what: 'JavaScript blocked beside a pass',
    run: async (device, turns) => [await measureBlocking(device, turns)],
  },
];

/** What says nothing on an adapter whose kernels run on the processors that copy. */
const ON_HARDWARE: readonly GpuMeasure[] = [
  {
    what: 'swaps over 28 layers in GPU memory',
    run: (device, turns) => measureGpuSwap(device, { layers: 28, turns }),
  },
  {
    what: 'decoding beside swaps',
    run: async (device, turns) => [await measureDecoding(device, turns)],
  },
];

async function run([subject, ...args]: readonly string[]): Promise<void> {
  if (subject !== 'swap') throw new CliError('what to measure? pagedkv bench swap');
  const { values, positionals } = parseOptions(SPECS, args);
  if (positionals.length > 0) throw new CliError(`what is '${positionals[0]!}'?`);
  const turns =
    values.turns === undefined ? undefined : readCount('turns', values.turns, 1, MOST_TURNS);
  const picked = await pick();
  if (picked instanceof PagedKvError) {
    const found = softwareVulkan();
    if (found.ok) rerunWith(found.environment);
    const why = `${picked.message} Nor does software Vulkan help: ${found.reason}.`;
    skip(
      [...ON_ANY_GPU, ...ON_HARDWARE],
      `${why} npm install ${DRIVER_PACKAGE} gets all but the last two`,
    );
  }
  const measures = [...ON_HOST, ...(picked instanceof PagedKvError ? [] : onGpu(picked))];
  const lines = await measureAll(measures, turns, new Progress(values.json === true));
  console.log(values.json === true ? JSON.stringify(lines) : toTable(lines));
}

/** The error, where there is no adapter. */
async function pick(): Promise<PickedDevice | PagedKvError> {
  try {
    return await pickDevice();
  } catch (error) {
    if (error instanceof PagedKvError) return error;
    throw error;
  }
}

function onGpu({ device, isSoftware }: PickedDevice): readonly Measure[] {
  if (isSoftware) {
    skip(
      ON_HARDWARE,
      'the WebGPU adapter is software; run this where there is a GPU with its driver',
    );
  }
  return [...ON_ANY_GPU, ...(isSoftware ? [] : ON_HARDWARE)].map(({ what, run: measure }) => ({
    what,
    run: (turns) => measure(device, turns),
  }));
}

function skip(measures: readonly { readonly what: string }[], why: string): void {
  console.error(`skipped ${measures.map(({ what }) => what).join(', ')}: ${why}.`);
}

async function measureAll(
  measures: readonly Measure[],
  turns: number | undefined,
  progress: Progress,
): Promise<readonly Line[]> {
  const lines: Line[] = [];
  for (const [i, { what, run: measure }] of measures.entries()) {
    progress.show(() => `measuring ${what}, ${i + 1} of ${measures.length}`);
    lines.push(...(await measure(turns)));
  }
  progress.clear();
  return lines;
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
