/** `pagedkv fragmentation [LENGTHS]`: how much of a memory holds tokens, paged and by older schemes. */
import { basename } from 'node:path';
import { openChart } from '../chart.js';
import type { Command } from '../command.js';
import { CliError } from '../errors.js';
import { Progress } from '../progress.js';
import { CONTIGUOUS_SCHEMES } from './contiguous.js';
import { generateLengths } from './generator.js';
import { readLengths, totalTokens, type Lengths } from './lengths.js';
import { readFragmentationOptions, usage, type FragmentationOptions } from './options.js';
import { toChart, toCurveTable, toJson, toTable } from './report.js';
import {
  contiguousRows,
  CURVE_RUNS,
  curvePoints,
  pagedRow,
  type OnPass,
  type Workload,
} from './simulate.js';

export const fragmentationCommand: Command = {
  name: 'fragmentation',
  summary: 'serves requests from a full memory and counts the slots that hold tokens',
  usage,
  run,
};

/** Of the curve, where it is among those asked for. */
const CURVE_BLOCK_SIZE = 16;

async function run(args: readonly string[]): Promise<void> {
  const options = readFragmentationOptions(args);
  const drawChart = options.svg === undefined ? undefined : await openChart(options.svg);
  const workload = await readWorkload(options);
  const hasCurve = !options.json || drawChart !== undefined;
  const progress = new Progress(options.json);
  const onPass = newOnPass(progress, countRuns(options, hasCurve), workload.requests.length);

  const contiguous = contiguousRows(workload, onPass);
  const paged = options.admissions.flatMap((admission) =>
    options.blockSizes.map((blockSize) => pagedRow(workload, admission, blockSize, onPass)),
  );
  const points = hasCurve ? curvePoints(workload, curveBlockSize(options), onPass) : [];

  progress.clear();
  for (const { warning } of contiguous) if (warning !== undefined) console.error(warning);
  const rows = [...contiguous.map(({ row }) => row), ...paged];
  if (options.json) console.log(toJson(rows));
  else console.log(`${toTable(workload, rows)}\n\n${toCurveTable(points)}`);
  drawChart?.(toChart(workload, points));
}

async function readWorkload(options: FragmentationOptions): Promise<Workload> {
  const { file, slots, maxLength, requests, seed } = options;
  if (file === undefined) {
    const generated = generateLengths(requests, seed, maxLength);
    return { name: `generated, seed ${seed}`, requests: generated, slots, maxLength };
  }
  const all = await readLengths(file);
  return { name: basename(file), requests: leaveOutLonger(file, all, maxLength), slots, maxLength };
}

/** A server refuses such requests, so that they are no part of what it serves. */
function leaveOutLonger(
  file: string,
  requests: readonly Lengths[],
  maxLength: number,
): readonly Lengths[] {
  const kept = requests.filter((request) => totalTokens(request) <= maxLength);
  const leftOut = requests.length - kept.length;
  if (leftOut === 0) return kept;
  const longest = requests.reduce((most, request) => Math.max(most, totalTokens(request)), 0);
  const problem =
    `${file}: ${leftOut} of ${requests.length} requests are longer than --max-length ${maxLength}, ` +
    `the longest has ${longest} tokens`;
  if (kept.length === 0) throw new CliError(`${problem}; give a larger --max-length and --slots`);
  console.error(`${problem}; they are left out`);
  return kept;
}

function curveBlockSize({ blockSizes }: FragmentationOptions): number {
  return blockSizes.includes(CURVE_BLOCK_SIZE) ? CURVE_BLOCK_SIZE : blockSizes[0]!;
}

function countRuns({ admissions, blockSizes }: FragmentationOptions, hasCurve: boolean): number {
  const curve = hasCurve ? CURVE_RUNS : 0;
  return CONTIGUOUS_SCHEMES.length + admissions.length * blockSizes.length + curve;
}

/** Runs come one after the other; a new one begins where fewer requests have begun than before. */
function newOnPass(progress: Progress, runs: number, requests: number): OnPass {
  let run = 0;
  let label = '';
  let before = 0;
  return (newLabel, begun) => {
    if (label !== '' && (newLabel !== label || begun < before)) run += 1;
    label = newLabel;
    before = begun;
    progress.show(() => {
      const share = (run + begun / requests) / runs;
      return `${Math.floor(100 * share)}%: ${label}, ${begun} of ${requests} requests`;
    });
  };
}
