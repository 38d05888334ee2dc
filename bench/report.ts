/** What was measured, for people. */
import type { Garbage } from './garbage.js';
import type { Result } from './measure.js';
import type { Memory } from './memory.js';

const HEADER = ['operation', 'median', 'p99', 'target', 'goal', 'yardstick', 'ratio'] as const;
const MIB = 2 ** 20;

/** A table of everything that was timed; times in µs. */
export function timesTable(results: readonly Result[]): string {
  const rows = results.map((result) => [
    result.name,
    micros(result.operation.median),
    micros(result.operation.p99),
    micros(result.target),
    micros(result.goal),
    micros(result.yardstickMedian),
    result.ratio.toPrecision(3),
    result.yardstick,
  ]);
  return table([[...HEADER, ''], ...rows]);
}

/** What the one thing takes that a case does beyond another; nothing where the other was not timed. */
export function differenceLines(results: readonly Result[]): string {
  return results
    .flatMap(({ name, operation, without }) => {
      const rest = results.find((result) => result.name === without);
      if (rest === undefined) return [];
      const difference = (operation.median - rest.operation.median) * 1000;
      return [`  ${difference.toFixed(0)} ns: ${name}, less ${rest.name}`];
    })
    .join('\n');
}

export function memoryLines(memory: readonly Memory[]): string {
  const lines = memory.map(
    ({ what, blocks, bytesPerBlock }) =>
      `  ${bytesPerBlock.toFixed(0)} bytes a block: ${blocks.toLocaleString('en')} blocks full of ${what}`,
  );
  return [
    'Memory of the core and its tables, tokens included (target 160), by resident size:',
    ...lines,
  ].join('\n');
}

export function garbageLines(garbage: readonly Garbage[]): string {
  const lines = garbage.map(
    ({ steps, seconds, collections, heapBytes, rssBytes }) =>
      `  ${steps.toLocaleString('en')} steps in ${seconds.toFixed(1)} s: ${collections} collections, ` +
      `heap ${signed(heapBytes)}, process ${signed(rssBytes)} MiB`,
  );
  return ['Garbage of decode steps of 256 sequences (target: none):', ...lines].join('\n');
}

/** Short of noise: three digits. */
function micros(value: number | undefined): string {
  if (value === undefined) return '';
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function signed(bytes: number): string {
  return `${bytes < 0 ? '−' : '+'}${(Math.abs(bytes) / MIB).toFixed(2)}`;
}

/** The first and last column to the left, numbers to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const columns = rows[0]!.length;
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) =>
          i === 0 || i === columns - 1 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
