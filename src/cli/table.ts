/** A table for people: the first row is its header; all columns to the right but the first `left` ones. */
export function table(rows: readonly (readonly string[])[], left = 1): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const align = (cell: string, i: number): string =>
    i < left ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!);
  return rows.map((row) => row.map(align).join('  ').trimEnd()).join('\n');
}

/** A count as people read it. */
export function thousands(count: number): string {
  return count.toLocaleString('en');
}
