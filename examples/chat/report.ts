/** What is printed at the end: a table for people, or one JSON object. */
import type { Stats } from '../../src/index.js';
import type { Backend } from './backend.js';
import type { FailingPieces } from './faults.js';
import type { TransferUse } from './flights.js';
import type { MemoryUse } from './meter.js';
import { printable, type Reply } from './reply.js';
import type { Comparison, Difference } from './verify.js';

export interface Outcome {
  readonly backend: Backend['kind'];
  readonly adapter: string;
  readonly model: string;
  readonly chats: number;
  readonly turns: number;
  readonly samples: number;
  readonly steps: number;
  readonly stats: Stats;
  readonly memory: MemoryUse;
  readonly transfers: TransferUse;
  /** Of transfers: all that began, and those that were made to fail. */
  readonly pieces: Pick<FailingPieces, 'pieces' | 'failed'>;
  readonly failedSteps: number;
  readonly comparison: Comparison;
  readonly pagedSeconds: number;
  readonly contiguousSeconds: number;
  readonly replies: readonly Reply[];
}

export function isVerified({ comparison }: Outcome): boolean {
  return comparison.tokens > 0 && comparison.differentTokens === 0;
}

/** Counts are blocks, tokens or events as their names say; bytes are of keys and values. */
export function toJson(outcome: Outcome): Record<string, unknown> {
  const { stats, memory, comparison, transfers } = outcome;
  return {
    verified: isVerified(outcome),
    device: outcome.backend,
    adapter: outcome.adapter,
    model: outcome.model,
    chats: outcome.chats,
    turns: outcome.turns,
    samples: outcome.samples,
    steps: outcome.steps,
    tokens: comparison.tokens,
    differentTokens: comparison.differentTokens,
    differences: comparison.differences,
    logitDistance: comparison.logitDistance,
    promptTokens: stats.promptTokens,
    prefixHitTokens: stats.hitTokens,
    copyOnWrites: stats.copiesOnWrite,
    forks: stats.forks,
    evictions: stats.evictions,
    offloadedBlocks: stats.offloadedBlocks,
    onboardedBlocks: stats.onboardedBlocks,
    swappedOutBlocks: stats.swappedOutBlocks,
    swappedInBlocks: stats.swappedInBlocks,
    preemptions: stats.preemptions,
    drops: stats.drops,
    aborts: stats.aborts,
    transfers: transfers.flights,
    offloadedBytes: transfers.outBlocks * memory.blockBytes,
    onboardedBytes: transfers.inBlocks * memory.blockBytes,
    recomputedTokens: stats.recomputedTokens,
    onboardedAheadBlocks: transfers.aheadBlocks,
    transferSeconds: transfers.seconds,
    transferSecondsBesidePasses: transfers.besideSeconds,
    failedPieces: outcome.pieces.failed,
    failedTransfers: transfers.failed,
    failedSteps: outcome.failedSteps,
    deviceBlocks: stats.device.total,
    hostBlocks: stats.host.total,
    blockBytes: memory.blockBytes,
    peakBytes: memory.peakBytes,
    hostPeakBytes: memory.hostPeakBytes,
    contiguousBytes: memory.contiguousBytes,
    waste: memory.waste,
    contiguousWaste: memory.contiguousWaste,
    pagedSeconds: outcome.pagedSeconds,
    contiguousSeconds: outcome.contiguousSeconds,
  };
}

type Row = readonly [name: string, value: string];

export function toTable(outcome: Outcome): string {
  const { stats, memory, comparison, transfers } = outcome;
  const { blockBytes } = memory;
  const moved = (blocks: number): string => `${blocks} blocks, ${formatBytes(blocks * blockBytes)}`;
  const rows: readonly Row[] = [
    ['adapter', outcome.adapter],
    ['model', outcome.model],
    [
      'chats',
      `${outcome.chats} of ${outcome.turns} turns, ${outcome.samples} samples a turn: ` +
        `${comparison.tokens} tokens drawn in ${outcome.steps} steps`,
    ],
    [
      'memory, at most',
      `${formatBytes(memory.peakBytes)} held on the device, ${formatBytes(memory.hostPeakBytes)} on the host`,
    ],
    [
      'contiguous',
      `${formatBytes(memory.contiguousBytes)}: a cache as long as its chat gets for each of up to ` +
        `${memory.mostOpen} open sequences (${percent(memory.peakBytes / memory.contiguousBytes)})`,
    ],
    [
      'waste',
      `${percent(memory.waste)} of held slots empty; contiguous ${percent(memory.contiguousWaste)}`,
    ],
    ['prefix hits', `${stats.hitTokens} of ${stats.promptTokens} prompt tokens`],
    ['forks', `${stats.forks}`],
    ['copies', `${moved(stats.copiesOnWrite)} on write`],
    ['evictions', `${stats.evictions} blocks`],
    ['preemptions', `${stats.preemptions}, ${stats.drops} of them by dropping`],
    [
      'moved out',
      `${moved(stats.swappedOutBlocks)} swapped out; ${moved(stats.offloadedBlocks)} that were cached`,
    ],
    [
      'moved in',
      `${moved(transfers.inBlocks)}; ${transfers.aheadBlocks} ahead of the pass that needs them`,
    ],
    ['transfers', describeTransfers(outcome)],
    ...failureRows(outcome),
    ['aborted steps', `${stats.aborts}`],
    [
      'time',
      `${seconds(outcome.pagedSeconds)} paged, ${seconds(outcome.contiguousSeconds)} contiguous`,
    ],
    [
      'logits',
      comparison.logitDistance === 0
        ? 'equal to the bit wherever the tokens are'
        : `${comparison.logitDistance.toExponential(1)} apart at most; a token was drawn by ` +
          `${comparison.leastMargin.toExponential(1)} at least`,
    ],
  ];
  const table = rows.map(([name, value]) => `  ${name.padEnd(17)}${value}`);
  return [...sampleLines(outcome.replies), '', ...table, '', verdict(outcome)].join('\n');
}

function describeTransfers({ transfers }: Outcome): string {
  const { flights, seconds, besideSeconds } = transfers;
  if (flights === 0) return 'none';
  return (
    `${flights}, under way for ${milliseconds(seconds)} in all, ` +
    `${percent(besideSeconds / seconds)} of it beside passes`
  );
}

function failureRows({ pieces, transfers, failedSteps }: Outcome): readonly Row[] {
  if (pieces.pieces === 0) return [];
  const { failed } = transfers;
  const made = `${pieces.failed} of ${pieces.pieces} pieces of transfers`;
  return [
    ['made to fail', `${made}: ${failed} transfers failed, ${failedSteps} steps were done again`],
  ];
}

function verdict(outcome: Outcome): string {
  const { tokens, differentTokens, differences } = outcome.comparison;
  if (isVerified(outcome)) return `verified: all ${tokens} tokens are those of contiguous caches`;
  return [
    `DIFFERENT: ${differentTokens} of ${tokens} tokens are not those of contiguous caches`,
    ...differences.map(describeDifference),
  ].join('\n');
}

function describeDifference({ chat, turn, sample, place, paged, contiguous }: Difference): string {
  return (
    `  chat ${chat + 1}, turn ${turn + 1}, sample ${sample + 1}, token ${place + 1}: ${paged.id} paged ` +
    `(by ${paged.margin.toPrecision(2)}), ${contiguous.id} contiguous (by ${contiguous.margin.toPrecision(2)})`
  );
}

function sampleLines(replies: readonly Reply[]): string[] {
  const first = replies.filter(({ chat, turn }) => chat === 0 && turn === 0);
  return first
    .sort((a, b) => a.sample - b.sample)
    .map((reply) => `  chat 1, sample ${reply.sample + 1}: ${printable(reply)}`);
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(0)} KiB`;
  if (bytes < 1024 ** 3) return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  return `${(bytes / 1024 ** 3).toFixed(2)} GiB`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function milliseconds(value: number): string {
  return `${(value * 1000).toFixed(0)} ms`;
}

function seconds(value: number): string {
  return `${value.toFixed(1)} s`;
}
