/**
 * Timing: benchmark.js decides how often a round runs, and every round is timed by itself, as neither what
 * comes before and after nor a median is to be had from benchmark.js.
 */
import Benchmark from 'benchmark';
import type { Case, Microseconds, Prepared, Round } from './case.js';

export interface Effort {
  /** Of each measurement. */
  readonly seconds: number;
  /** Operation and yardstick take turns this often: a machine that changes its speed changes both. */
  readonly turns: number;
}

export interface Quantiles {
  readonly median: Microseconds;
  readonly p99: Microseconds;
}

export interface Result {
  readonly name: string;
  readonly operation: Quantiles;
  readonly target: Microseconds | undefined;
  readonly goal: Microseconds | undefined;
  readonly yardstick: string;
  readonly yardstickMedian: Microseconds;
  /** Of operation to yardstick: the median of the turns. */
  readonly ratio: number;
  /** As the case has it. */
  readonly without: string | undefined;
}

/** The last so many rounds count. */
const MAX_SAMPLES = 2 ** 18;
const samples = new Float64Array(MAX_SAMPLES);

export function measureCase(each: Case, effort: Effort): Result {
  const prepared = each.prepare();
  const perRound = each.perRound ?? 1;
  const operations: Quantiles[] = [];
  const yardsticks: Quantiles[] = [];
  warmUp(each.name, prepared, effort);
  for (let turn = 0; turn < effort.turns; turn++) {
    operations.push(measure(each.name, prepared.operation, effort));
    yardsticks.push(measure(each.yardstick, prepared.yardstick, effort));
  }
  prepared.finish();
  return {
    name: each.name,
    operation: {
      median: median(operations.map((turn) => turn.median)) / perRound,
      p99: median(operations.map((turn) => turn.p99)) / perRound,
    },
    target: each.target,
    goal: each.goal,
    yardstick: each.yardstick,
    yardstickMedian: median(yardsticks.map((turn) => turn.median)) / perRound,
    ratio: median(operations.map((turn, i) => turn.median / yardsticks[i]!.median)),
    without: each.without,
  };
}

/** What reading the clock adds to each figure. */
export function clockCost(effort: Effort): Microseconds {
  return measure('the clock', { run: () => 0 }, effort).median;
}

export function median(values: readonly number[]): number {
  return quantile(Float64Array.from(values).sort(), 0.5);
}

function warmUp(name: string, { operation, yardstick }: Prepared, effort: Effort): void {
  measure(name, operation, effort);
  measure(name, yardstick, effort);
}

function measure(name: string, round: Round, { seconds }: Effort): Quantiles {
  let rounds = 0;
  const benchmark = new Benchmark(name, {
    fn: () => {
      samples[rounds % MAX_SAMPLES] = timeRound(round);
      rounds += 1;
    },
    maxTime: seconds,
    minTime: seconds / 5,
    minSamples: 5,
    async: false,
  });
  benchmark.run();
  // benchmark.js swallows what a round throws.
  const error = (benchmark as { error?: unknown }).error;
  if (error !== undefined) throw new Error(`${name} failed`, { cause: error });
  const sorted = samples.slice(0, Math.min(rounds, MAX_SAMPLES)).sort();
  return { median: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) };
}

function timeRound({ before, run, after }: Round): Microseconds {
  before?.();
  const begin = performance.now();
  const answer = run();
  const end = performance.now();
  after?.(answer);
  return (end - begin) * 1000;
}

function quantile(sorted: Float64Array, q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!;
}
