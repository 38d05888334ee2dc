/** What the simulations counted: as JSON, as tables, as a chart. */
import type { ChartLine, LineChart } from '../chart.js';
import { table, thousands } from '../table.js';
import type { AdmissionName } from './admission.js';
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

/** Utilisation against preemptions; `known`, which has none, is a level to hold the others against. */
export function toChart(workload: Workload, points: readonly CurvePoint[]): LineChart {
  const lines = toLines(points);
  const lowest = Math.min(...points.map(({ row }) => row.utilisation));
  const blockSize = points[0]!.row.blockSize!;
  return {
    title: `${workload.name}, ${thousands(workload.slots)} slots in blocks of ${blockSize}`,
    xName: 'preemptions a request',
    yName: 'slots that hold tokens, %',
    isLogX: lines.every((line) => line.points.every(([x]) => x > 0)),
    yMin: Math.floor(10 * lowest) * 10,
    yMax: 100,
    lines,
  };
}

function toLines(points: readonly CurvePoint[]): readonly ChartLine[] {
  const names = [...new Set(points.map(({ row }) => row.admission!))];
  const pointsOf = (name: AdmissionName) =>
    points.filter(({ row }) => row.admission === name).map(({ row }) => toPoint(row));
  const lines = names
    .filter((name) => name !== 'known')
    .map((name) => ({ name, points: pointsOf(name).sort(([a], [b]) => a - b) }));
  const all = lines.flatMap((line) => line.points.map(([x]) => x));
  const levels = pointsOf('known').map(([, y]) => ({
    name: 'known',
    isReference: true,
    points: [Math.min(...all), Math.max(...all)].map((x) => [x, y] as const),
  }));
  return [...lines, ...levels];
}

/** x is rounded to what is written below the axis. */
function toPoint(row: Row): readonly [number, number] {
  return [Number(row.preemptionsPerRequest.toPrecision(2)), 100 * row.utilisation];
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
