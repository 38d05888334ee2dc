/** `pagedkv replay TRACE`: how a trace fares in caches of several sizes, under several policies. */
import { openChart } from '../chart.js';
import type { Command } from '../command.js';
import { Progress } from '../progress.js';
import { readReplayOptions, usage, type ReplayOptions } from './options.js';
import { readTrace } from './read-trace.js';
import { readOptimum } from './reference.js';
import { replay } from './replay.js';
import { toChart, toJson, toTable, type Result } from './report.js';
import { defaultSizes, toSize } from './sizes.js';
import type { Trace } from './trace.js';

export const replayCommand: Command = {
  name: 'replay',
  summary: 'replays a trace of requests through the manager and counts what prompts find',
  usage,
  run,
};

async function run(args: readonly string[]): Promise<void> {
  const options = readReplayOptions(args);
  const drawChart = options.svg === undefined ? undefined : await openChart(options.svg);
  const optimum = drawChart === undefined ? [] : readOptimum(options.trace);
  const progress = new Progress(options.json);
  const { trace, warnings } = await readTrace(options.trace, (count) =>
    progress.show(() => `${options.trace}: ${count} requests read`),
  );
  progress.clear();
  for (const warning of warnings) console.error(warning);
  const results = replayAll(trace, options, progress);
  progress.clear();
  console.log(options.json ? toJson(trace, results) : toTable(trace, results));
  drawChart?.(toChart(trace, results, optimum));
}

function replayAll(trace: Trace, options: ReplayOptions, progress: Progress): readonly Result[] {
  const { hostSize, hostMode, hints, policies } = options;
  // All are checked before the first runs.
  const asked = options.sizes.length > 0 ? options.sizes : defaultSizes(trace);
  const sizes = asked.map((size) => toSize(trace, optionOf(size), size));
  const hostBlocks =
    hostSize === undefined ? 0 : toSize(trace, `host-${optionOf(hostSize)}`, hostSize).blocks;
  const total = sizes.length * policies.length * trace.requests.count;
  let before = 0;
  const results: Result[] = [];
  for (const policy of policies) {
    for (const size of sizes) {
      const setup = { policy, deviceBlocks: size.blocks, hostBlocks, hostMode, hints };
      const counts = replay(trace, setup, (request) =>
        progress.show(() => progressLine(policy, size.blocks, (before + request) / total)),
      );
      before += trace.requests.count;
      results.push({ policy, size, hostBlocks, counts });
    }
  }
  return results;
}

function optionOf(size: ReplayOptions['sizes'][number]): string {
  return 'blocks' in size ? 'blocks' : 'percent';
}

function progressLine(policy: string, blocks: number, share: number): string {
  return `${Math.floor(100 * share)}% replayed: ${policy}, ${blocks} blocks`;
}
