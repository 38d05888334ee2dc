/** Line charts as SVG, drawn by echarts, which is only needed, and only loaded, for them. */
import { statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { CliError } from './errors.js';

export interface ChartLine {
  readonly name: string;
  /** x and y, ascending in x. */
  readonly points: readonly (readonly [number, number])[];
  /** Drawn dashed: what the others are held against. */
  readonly isReference?: boolean;
}

export interface LineChart {
  readonly title: string;
  readonly xName: string;
  readonly yName: string;
  /** Whether x is drawn on a logarithmic scale; all x are above 0 then. */
  readonly isLogX: boolean;
  /** The beginning of the y axis; 0 where it is undefined. */
  readonly yMin?: number;
  /** The end of the y axis; chosen from the lines where it is undefined. */
  readonly yMax?: number;
  readonly lines: readonly ChartLine[];
}

const WIDTH = 800;
const HEIGHT = 500;

/**
 * Readies a chart file before the work whose result it shows, so that what cannot be written is refused
 * first. Throws a `CliError` where echarts is not installed or the folder is not there.
 */
export async function openChart(path: string): Promise<(chart: LineChart) => void> {
  const echarts = await loadEcharts();
  const folder = dirname(path);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new CliError(`cannot write ${path}: there is no folder ${folder}`);
  }
  return (chart) => write(path, render(echarts, chart));
}

type Echarts = typeof import('echarts');

async function loadEcharts(): Promise<Echarts> {
  try {
    return await import('echarts');
  } catch (cause) {
    throw new CliError('--svg draws with echarts, which is not installed: npm install echarts', {
      cause,
    });
  }
}

function render(echarts: Echarts, chart: LineChart): string {
  const drawn = echarts.init(null, null, {
    renderer: 'svg',
    ssr: true,
    width: WIDTH,
    height: HEIGHT,
  });
  try {
    drawn.setOption(toOption(chart));
    return drawn.renderToSVGString();
  } finally {
    drawn.dispose();
  }
}

function toOption({ title, xName, yName, isLogX, yMin = 0, yMax, lines }: LineChart) {
  // The decades of a logarithmic axis would leave most points between two labels.
  const labels = isLogX ? { customValues: pointsInX(lines) } : {};
  return {
    animation: false,
    backgroundColor: '#fff',
    title: { text: title, left: 'center' },
    legend: { top: 40 },
    grid: { top: 80, left: 72, right: 32, bottom: 56 },
    xAxis: {
      type: isLogX ? ('log' as const) : ('value' as const),
      name: xName,
      nameLocation: 'middle' as const,
      nameGap: 32,
      min: 'dataMin' as const,
      max: 'dataMax' as const,
      axisTick: labels,
      axisLabel: labels,
    },
    yAxis: {
      type: 'value' as const,
      name: yName,
      nameLocation: 'middle' as const,
      nameGap: 48,
      min: yMin,
      ...(yMax === undefined ? {} : { max: yMax }),
    },
    series: lines.map(({ name, points, isReference }) => ({
      type: 'line' as const,
      name,
      symbolSize: 6,
      lineStyle: { type: isReference === true ? ('dashed' as const) : ('solid' as const) },
      data: points.map((point) => [...point]),
    })),
  };
}

function pointsInX(lines: readonly ChartLine[]): number[] {
  const measured = lines.filter(({ isReference }) => isReference !== true);
  return [...new Set(measured.flatMap(({ points }) => points.map(([x]) => x)))];
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new CliError(`cannot write ${path}: ${(error as Error).message}`);
  }
}
