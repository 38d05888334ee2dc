/** What the simulations counted: as JSON, as tables, as a chart. */
import type { LineChart } from '../chart.js';
import { table } from '../table.js';
import { totalTokens } from './lengths.js';
import type { CurvePoint, Row, Workload } from './simulate.js';

/** An array with one object a row. */
export function toJson(rows: readonly Row[]): string {
  return JSON.stringify(rows.map(toObject), undefined, 2);
}

function toObject(row: Row) {
  return {
    scheme: row.scheme,
    blockSize: row.blockSize,
    slots: row.slots,
    admission: row.admission,
    utilisation: row.utilisation,
    reserved: row.reserved,
    internalWaste: row.internalWaste,
    externalWaste: row.externalWaste,
    meanBatch: row.meanBatch,
    preemptionsPerRequest: row.preemptionsPerRequest,
    recomputedPerInputToken: row.recomputedPerInputToken,
  };
}

export function toTable(workload: Workload, rows: readonly Row[]): string {
  const header = ['scheme', 'admission', 'block', 'used', 'reserved', 'internal', 'external'];
  const cells = rows.map((row) => [
    row.scheme,
    row.admission ?? '',
    row.blockSize === null ? '' : String(row.blockSize),
    percent(row.utilisation),
    percent(row.reserved),
    percent(row.internalWaste),
    percent(row.externalWaste),
    ...priceOf(row),
  ]);
  return [title(workload), '', table([[...header, ...PRICE_HEADER], ...cells], 2)].join('\n');
}

export function toCurveTable(points: readonly CurvePoint[]): string {
  const cells = points.map(({ goal, row }) => [
    row.admission!,
    goal === undefined ? '' : String(goal),
    percent(row.utilisation),
    ...priceOf(row),
  ]);
  return [
    `What admission can choose from, in blocks of ${points[0]!.row.blockSize!}`,
    '',
    table([['admission', 'goal', 'used', ...PRICE_HEADER], ...cells]),
  ].join('\n');
}

const PRICE_HEADER = ['mean batch', 'preemptions/request', 'recomputed/input token'];

/** What the utilisation was had for. */
function priceOf(row: Row): readonly string[] {
  return [
    row.meanBatch.toFixed(2),
    row.preemptionsPerRequest.toFixed(3),
    row.recomputedPerInputToken.toFixed(2),
  ];
}

export function toChart(workload: Workload, points: readonly CurvePoint[]): LineChart {
  const names = [...new Set(points.map(({ row }) => row.admission!))];
  return {
    title: `${workload.name}, ${thousands(workload.slots)} slots in blocks of ${points[0]!.row.blockSize!}`,
    xName: 'preemptions a request',
    yName: 'slots that hold tokens, %',
    isLogX: false,
    lines: names.map((name) => ({
      name,
      points: points
        .filter(({ row }) => row.admission === name)
        .map(({ row }) => [row.preemptionsPerRequest, 100 * row.utilisation] as const)
        .sort(([a], [b]) => a - b),
    })),
  };
}

function title({ name, requests, slots, maxLength }: Workload): string {
  const input = requests.reduce((sum, { inputTokens }) => sum + inputTokens, 0);
  const total = requests.reduce((sum, request) => sum + totalTokens(request), 0);
  const mean = (tokens: number): string => (tokens / requests.length).toFixed(0);
  return (
    `${name}: ${thousands(requests.length)} requests of ${mean(input)} tokens in and ` +
    `${mean(total - input)} out on average, at most ${maxLength} in all; ${thousands(slots)} slots`
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}

function thousands(count: number): string {
  return count.toLocaleString('en');
}
