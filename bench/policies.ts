/**
 * The table of docs/eviction.md: policies × sizes × traces, as Markdown.
 *
 *   npm run bench:policies -- TRACE...
 *
 * Each cell is the share of prompt tokens found in memory, by `pagedkv replay`. The optimum is shown where a
 * table of reference results lies beside the trace.
 */
import { EVICTION_POLICIES } from '../src/options.js';
import { readTrace } from '../src/cli/replay/read-trace.js';
import { readOptimum } from '../src/cli/replay/reference.js';
import { replay, type Setup } from '../src/cli/replay/replay.js';
import { DEFAULT_PERCENTS } from '../src/cli/replay/sizes.js';
import type { Trace } from '../src/cli/replay/trace.js';

const ROWS = [
  ...EVICTION_POLICIES.map((policy) => ({ name: policy, policy, hints: false })),
  { name: 'adaptive, with hints', policy: 'adaptive', hints: true },
] as const;

const paths = process.argv.slice(2);
if (paths.length === 0) throw new Error('usage: npm run bench:policies -- TRACE...');
for (const path of paths) console.log(await tableOf(path));

async function tableOf(path: string): Promise<string> {
  const { trace } = await readTrace(path, () => undefined);
  const sizes = DEFAULT_PERCENTS.map((percent) => Math.floor((trace.blocks * percent) / 100));
  const rows = ROWS.map(({ name, policy, hints }) => [
    name,
    ...sizes.map((blocks) =>
      blocks > 0 ? toPercent(hitRate(trace, { policy, hints }, blocks)) : '',
    ),
  ]);
  const optimum = readOptimum(path);
  const best = sizes.map((size) => optimum.find(({ blocks }) => blocks === size)?.tokenHitRate);
  if (optimum.length > 0) {
    rows.push(['MIN, offline', ...best.map((rate) => (rate === undefined ? '' : toPercent(rate)))]);
  }
  const header = [trace.name, ...DEFAULT_PERCENTS.map((percent) => `${percent}%`)];
  const rule = header.map((_, i) => (i === 0 ? '---' : '---:'));
  return [header, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n') + '\n';
}

function hitRate(
  trace: Trace,
  asked: Pick<Setup, 'policy' | 'hints'>,
  deviceBlocks: number,
): number {
  const setup: Setup = { ...asked, deviceBlocks, hostBlocks: 0, hostMode: 'exclusive' };
  const { hitTokens } = replay(trace, setup, () => undefined);
  return hitTokens / trace.requests.inputTokens.reduce((sum, tokens) => sum + tokens, 0);
}

function toPercent(rate: number): string {
  return (100 * rate).toFixed(2);
}
