/** Who may join the batch, and who must leave it when memory runs out. */
import { newWatermark } from './watermark.js';

export const ADMISSIONS = ['greedy', 'prompt', 'watermark', 'known'] as const;
export type AdmissionName = (typeof ADMISSIONS)[number];

/** A request in the batch, or the one that asks to join it. */
export interface Member {
  /** Tokens in memory after this pass. */
  readonly held: number;
  /** Tokens at its end. Only `known` may look at it. */
  readonly total: number;
}

/** What an admission can see: the memory after the running requests took their token of this pass. */
export interface Memory {
  readonly blockSize: number;
  readonly blocks: number;
  readonly freeBlocks: number;
  /** In the order in which they joined. */
  readonly running: readonly Member[];
}

export interface AdmissionPolicy {
  /** Asked only where the blocks for what the candidate computes now are free. */
  admits(candidate: Member, memory: Memory): boolean;
  /** Which of the running requests gives up its blocks. */
  victim(running: readonly Member[]): number;
  onPreempted?(): void;
  onFinished?(): void;
}

/** `preemptionGoal`: preemptions a request that `watermark` aims for. */
export function newAdmission(
  name: AdmissionName,
  maxLength: number,
  preemptionGoal: number,
): AdmissionPolicy {
  if (name === 'watermark') return newWatermark(maxLength, preemptionGoal);
  return { admits: RULES[name], victim: lastToJoin };
}

const RULES = {
  greedy: () => true,
  prompt: fitsBesideNextTokens,
  known: fitsUntilAllEnd,
} satisfies Partial<Record<AdmissionName, AdmissionPolicy['admits']>>;

export function blocksFor(tokens: number, blockSize: number): number {
  return Math.ceil(tokens / blockSize);
}

/** The one with the least to lose, as a rule; first come, first served. */
function lastToJoin(running: readonly Member[]): number {
  return running.length - 1;
}

/** Whether the candidate fits, and the next token of everybody with it. */
function fitsBesideNextTokens(candidate: Member, memory: Memory): boolean {
  const { blockSize, freeBlocks, running } = memory;
  const growing = running.filter(({ held }) => held % blockSize === 0).length;
  return blocksFor(candidate.held + 1, blockSize) + growing <= freeBlocks;
}

/**
 * Whether nobody will ever lack a block, with all lengths known. The demand only falls where a request
 * ends, so it is enough to look at the last pass of each. O(running²).
 */
function fitsUntilAllEnd(candidate: Member, { blockSize, blocks, running }: Memory): boolean {
  const members = [...running, candidate];
  return members.every(({ held, total }) => demandAfter(members, total - held) <= blocks);

  function demandAfter(all: readonly Member[], passes: number): number {
    let demand = 0;
    for (const member of all) {
      const length = member.held + passes;
      if (length <= member.total) demand += blocksFor(length, blockSize);
    }
    return demand;
  }
}
