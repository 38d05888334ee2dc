/**
 * The table of docs/offload.md: swap or recompute, by the ratio of the rates, as Markdown.
 *
 *   npm run bench:recompute -- [--seed N] [TRACE...]
 *
 * Without a trace, one is generated. Times are of a virtual clock, and the same each time.
 */
import { parseArgs } from 'node:util';
import { generateTrace } from '../src/cli/bench/generated-trace.js';
import { Noise } from '../src/cli/bench/machine.js';
import { measureRecompute, RATIOS, toBetter } from '../src/cli/bench/recompute.js';
import { readTrace } from '../src/cli/replay/read-trace.js';
import type { Trace } from '../src/cli/replay/trace.js';

const GENERATED_REQUESTS = 4000;

const { values, positionals } = parseArgs({
  options: { seed: { type: 'string', default: '1' } },
  allowPositionals: true,
});
const seed = Number(values.seed);

if (positionals.length === 0) console.log(tableOf(generateTrace(GENERATED_REQUESTS, drawn(seed))));
for (const path of positionals) {
  const { trace } = await readTrace(path, () => undefined);
  console.log(tableOf(trace));
}

function tableOf(trace: Trace): string {
  const results = measureRecompute(trace, RATIOS, seed);
  const column = (name: string, of: (result: (typeof results)[number]) => number): string[] => [
    name,
    ...results.map((result) => of(result).toFixed(2)),
  ];
  const better = ({ always, never }: (typeof results)[number]): number => Math.min(always, never);
  const rows = [
    column('always brought back', (result) => result.always / better(result)),
    column('always computed', (result) => result.never / better(result)),
    column('**chosen**', toBetter).map((cell, i) => (i === 0 ? cell : `**${cell}**`)),
  ];
  const header = [trace.name, ...results.map(({ ratio }) => String(ratio))];
  const rule = header.map((_, i) => (i === 0 ? '---' : '---:'));
  return [header, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n') + '\n';
}

function drawn(from: number): () => number {
  const noise = new Noise(from, 0);
  return () => noise.next();
}
