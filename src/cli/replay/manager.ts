/** The manager that a trace is replayed through, and what it is told of a request beyond its tokens. */
import {
  KvCacheManager,
  PagedKvError,
  type CloseOptions,
  type EvictionPolicy,
  type Onboarding,
  type Sequence,
} from '../../index.js';
import type { HostMode } from '../../options.js';
import { CliError } from '../errors.js';

/** The eviction policies that `--policy` takes; the first is the manager's default. */
export const POLICIES: readonly Policy[] = ['adaptive', 'lru', 'arc'];
export type Policy = EvictionPolicy;

const HOST_OPTIONS = {
  exclusive: { mode: 'exclusive', write: 'back' },
  inclusive: { mode: 'inclusive', write: 'through' },
} as const;

export interface ManagerSetup {
  readonly policy: Policy;
  readonly blockSize: number;
  readonly deviceBlocks: number;
  /** 0 for no host tier. */
  readonly hostBlocks: number;
  readonly hostMode: HostMode;
  /** A replay counts what is found, and so by default brings all of it back. */
  readonly onboard?: Onboarding;
  /** Blocks of the longest chain. */
  readonly maxChainBlocks: number;
  readonly maxBatchTokens: number;
  /** The trace's time, in ms. */
  readonly clock: () => number;
}

/** What a trace tells about a request that has ended. */
export interface Hint {
  readonly endsSession: boolean;
  /** How long sessions have paused after outputs that stopped like this one; undefined where not known. */
  readonly pause_ms: number | undefined;
}

/** Throws a `CliError` where the machine has no memory for so many blocks. */
export function makeManager(setup: ManagerSetup): KvCacheManager {
  try {
    return newManager(setup);
  } catch (cause) {
    if (!(cause instanceof PagedKvError) || cause.code !== 'OUT_OF_MEMORY') throw cause;
    throw new CliError(`${setup.deviceBlocks} + ${setup.hostBlocks} blocks: ${cause.message}`, {
      cause,
    });
  }
}

function newManager(setup: ManagerSetup): KvCacheManager {
  const { hostBlocks, maxChainBlocks } = setup;
  return new KvCacheManager({
    // No byte is moved.
    model: { layers: 1, kvHeads: 1, headDim: 1, dtype: 'f32' },
    eviction: setup.policy,
    onboard: setup.onboard ?? 'always',
    clock: setup.clock,
    blockSize: setup.blockSize,
    device: { blocks: setup.deviceBlocks },
    ...(hostBlocks > 0 ? { host: { blocks: hostBlocks, ...HOST_OPTIONS[setup.hostMode] } } : {}),
    // A request, and what brings a part of it back.
    maxSequences: 2,
    maxBatchSequences: 1,
    // And the token that is never computed.
    maxSequenceTokens: maxChainBlocks * setup.blockSize + 1,
    maxBatchTokens: setup.maxBatchTokens,
    maxOpenSteps: 1,
    maxStepTransfers: hostBlocks > 0 ? maxChainBlocks : 1,
    // A block of a trace is found whole or not at all.
    minPartialTokens: setup.blockSize,
  });
}

/** Ends a request, and tells what is known of the time after it where hints are given. */
export function endRequest(sequence: Sequence, hint: Hint | undefined): void {
  sequence.close(hint === undefined ? undefined : reuseAfter(hint));
}

function reuseAfter({ endsSession, pause_ms }: Hint): CloseOptions {
  if (endsSession) return { reuse: 'never' };
  return pause_ms === undefined ? {} : { reuse: pause_ms };
}
