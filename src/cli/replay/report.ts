/** What a replay counted: as JSON, as a table, as a chart. */
import type { LineChart } from '../chart.js';
import { table, thousands } from '../table.js';
import type { Policy } from './manager.js';
import type { ReferencePoint } from './reference.js';
import type { Counts } from './replay.js';
import type { Size } from './sizes.js';
import type { Trace } from './trace.js';

export interface Result {
  readonly policy: Policy;
  readonly size: Size;
  readonly hostBlocks: number;
  readonly counts: Counts;
}

/** One object for one replay, an array for several. */
export function toJson(trace: Trace, results: readonly Result[]): string {
  const objects = results.map((result) => toObject(trace, result));
  return JSON.stringify(objects.length === 1 ? objects[0] : objects, undefined, 2);
}

function toObject(trace: Trace, { policy, size, hostBlocks, counts }: Result) {
  return {
    trace: trace.name,
    policy,
    percent: size.percent,
    blocks: size.blocks,
    hostBlocks,
    requests: trace.requests.count,
    inputTokens: sum(trace.requests.inputTokens),
    hitBlocks: counts.hitBlocks,
    hitTokens: counts.hitTokens,
    tokenHitRate: tokenHitRate(trace, counts),
    evictions: counts.evictions,
    offloads: counts.offloads,
    onboards: counts.onboards,
    seconds: counts.seconds,
  };
}

export function toTable(trace: Trace, results: readonly Result[]): string {
  const hasHost = results.some(({ hostBlocks }) => hostBlocks > 0);
  const references = sum(trace.requests.inputBlocks);
  const rows = results.map(({ policy, size, hostBlocks, counts }) => [
    policy,
    `${Number(size.percent.toPrecision(3))}%`,
    thousands(size.blocks),
    ...(hasHost ? [thousands(hostBlocks)] : []),
    `${(100 * tokenHitRate(trace, counts)).toFixed(2)}%`,
    thousands(counts.hitBlocks),
    thousands(counts.evictions),
    ...(hasHost ? [thousands(counts.offloads), thousands(counts.onboards)] : []),
    counts.seconds.toFixed(2),
    (references / counts.seconds / 1e6).toFixed(2),
  ]);
  const header = [
    'policy',
    'size',
    'blocks',
    ...(hasHost ? ['host blocks'] : []),
    'tokens hit',
    'blocks hit',
    'evictions',
    ...(hasHost ? ['offloads', 'onboards'] : []),
    'seconds',
    'M blocks/s',
  ];
  return [
    `${trace.name}: ${thousands(trace.requests.count)} requests of ` +
      `${thousands(sum(trace.requests.inputTokens))} tokens, which name ${thousands(references)} blocks, ` +
      `${thousands(trace.blocks)} of ${trace.blockSize} tokens distinct`,
    '',
    table([header, ...rows]),
  ].join('\n');
}

/** Token hit rate against size, a line for each policy, and the optimum where it is known. */
export function toChart(
  trace: Trace,
  results: readonly Result[],
  optimum: readonly ReferencePoint[],
): LineChart {
  const policies = [...new Set(results.map(({ policy }) => policy))];
  const lines = policies.map((policy) => ({
    name: policy,
    points: results
      .filter((result) => result.policy === policy)
      .map(({ size, counts }) => [size.percent, 100 * tokenHitRate(trace, counts)] as const)
      .sort(([a], [b]) => a - b),
  }));
  const reference = {
    name: 'MIN, the offline optimum',
    isReference: true,
    points: optimum.map(
      ({ blocks, tokenHitRate: rate }) => [(100 * blocks) / trace.blocks, 100 * rate] as const,
    ),
  };
  return {
    title: hostTitle(trace, results),
    xName: "device blocks, % of the trace's distinct blocks",
    yName: 'prompt tokens found in memory, %',
    isLogX: true,
    yMax: 100,
    lines: optimum.length > 0 ? [...lines, reference] : lines,
  };
}

function hostTitle(trace: Trace, results: readonly Result[]): string {
  const { hostBlocks } = results[0]!;
  return hostBlocks > 0 ? `${trace.name}, host tier of ${thousands(hostBlocks)}` : trace.name;
}

function tokenHitRate({ requests }: Trace, { hitTokens }: Counts): number {
  const tokens = sum(requests.inputTokens);
  return tokens === 0 ? 0 : hitTokens / tokens;
}

function sum(numbers: Float64Array | Uint32Array): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
