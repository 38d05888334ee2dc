/** The best that any policy can reach on a trace, where a table of reference results lies beside it. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CliError, lineError } from '../errors.js';

export interface ReferencePoint {
  readonly blocks: number;
  readonly tokenHitRate: number;
}

/** The offline optimum (Belady, 1966) in the tables. */
const OPTIMUM = 'MIN';

/** From `ref_NAME.tsv` beside `NAME.jsonl` or `NAME.jsonl.gz`; empty where there is none. */
export function readOptimum(tracePath: string): readonly ReferencePoint[] {
  const name = basename(tracePath).replace(/\.jsonl(\.gz)?$/, '');
  const path = join(dirname(tracePath), `ref_${name}.tsv`);
  if (!existsSync(path)) return [];
  const [header, ...rows] = readText(path).trimEnd().split('\n');
  const columns = header!.split('\t');
  const points: ReferencePoint[] = [];
  for (const [i, row] of rows.entries()) {
    const cells = row.split('\t');
    const cell = (column: string): string | undefined => cells[columns.indexOf(column)];
    if (cell('policy') !== OPTIMUM) continue;
    const point = { blocks: Number(cell('cap_blocks')), tokenHitRate: Number(cell('token_hit')) };
    if (!(point.blocks > 0 && point.tokenHitRate >= 0 && point.tokenHitRate <= 1)) {
      throw lineError(path, i + 2, 'no cap_blocks and token_hit', 'mend the table or move it away');
    }
    points.push(point);
  }
  return points.sort((a, b) => a.blocks - b.blocks);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CliError(`cannot read ${path}: ${(error as Error).message}`);
  }
}
