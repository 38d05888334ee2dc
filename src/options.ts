/** What a manager is made from: the options of its users, and the checked configuration that they become. */
import { PagedKvError } from './errors.js';
import { ONBOARDING, type Onboarding } from './costs.js';
import { readShape, withPools, type GroupOptions, type PoolSize } from './groups.js';
import { native } from './native.js';
import { readClock, type Milliseconds } from './retention.js';
import type { CacheLayout, GroupLayout, ModelShape } from './plan.js';
import { readBoolean, readChoice, readInteger, readOptions, show } from './validate.js';

/**
 * Which cached block leaves first, among those of one priority.
 *
 * - `'adaptive'`, the default: what is expected back last, as learned from how conversations return and told by
 *   `close({ reuse })`; least recently used where nothing tells more.
 * - `'lru'`: the least recently used, from each prompt's tail. Exactly.
 * - `'arc'`: balances what was used once against what was used again (after Megiddo and Modha's ARC).
 *
 * All take O(1) a block.
 */
export type EvictionPolicy = 'adaptive' | 'lru' | 'arc';

/** By number: `PolicyKind` of the core. */
export const EVICTION_POLICIES: readonly EvictionPolicy[] = ['lru', 'arc', 'adaptive'];

/** Which gives way first where the host is full: see `HostOptions`. By number: `HostMode` of the core. */
export const HOST_MODES = ['exclusive', 'inclusive'] as const;
export type HostMode = (typeof HOST_MODES)[number];
/** When blocks are copied to the host: see `HostOptions`. By number: `HostWrite` of the core. */
export const HOST_WRITES = ['back', 'through', 'second-use'] as const;
export type HostWrite = (typeof HOST_WRITES)[number];

/** The pool on the host, and what of the device it has copies of. A block that has one leaves the device unmoved. */
export type HostOptions = PoolSize & {
  /**
   * Which gives way where the host is full. `'exclusive'`, the default: copies of what is on the device
   * first, so that both tiers together hold as much as they can. `'inclusive'`: what is on the host alone, so
   * that what came back from the host, or was copied ahead, keeps its copy, and little is moved.
   */
  readonly mode?: HostMode;
  /**
   * When a block is copied to the host. `'back'`, the default: as it leaves the device. `'through'`: in the
   * steps after it was computed. `'second-use'`: in the steps after a prompt found it. Copies made ahead
   * take room that is free, or, inclusive, that the host makes; they evict nothing from the device.
   */
  readonly write?: HostWrite;
};
/**
 * Shares of the device, from 0 to 1, that hysteresis is made of. What is admitted leaves `low` free, so that
 * those who run can grow; once the device was full, or somebody was preempted, nothing is admitted until
 * `high` of it can be had again, and then what leaves as much.
 */
export interface Watermarks {
  /** Default 0.01. */
  readonly low?: number;
  /** Default 0.05, or `low` if that is more. */
  readonly high?: number;
}

export interface KvCacheManagerOptions {
  /** A model whose layers keep keys and values. Give this or `groups`. */
  readonly model?: ModelShape;
  /** The cache groups, each with its planes. A group has as many blocks as the pool says, or as it asks for. */
  readonly groups?: readonly GroupOptions[];
  /** Token slots in a block, 1 to 1024. Default 16. */
  readonly blockSize?: number;
  /** The pool on the device. */
  readonly device: PoolSize;
  /** The pool in host memory, for what must leave the device. Default: none. */
  readonly host?: HostOptions;
  /** Sequences that may be open at once. Default 256. */
  readonly maxSequences?: number;
  /** Tokens of the longest sequence. Default 32768. */
  readonly maxSequenceTokens?: number;
  /** Sequences in one step. Default 256, or `maxSequences` if that is less. */
  readonly maxBatchSequences?: number;
  /** Tokens given to one step. Default 8192. */
  readonly maxBatchTokens?: number;
  /** Steps that may be open at once, 1 to 16. Default 2. */
  readonly maxOpenSteps?: number;
  /**
   * Blocks of a group that one step may offload, and that it may onboard. Default 4096, or the blocks of
   * the longest sequence if these are more.
   */
  readonly maxStepTransfers?: number;
  /**
   * From how many tokens on a part of a cached block is worth copying. Default 1; `blockSize` for never.
   */
  readonly minPartialTokens?: number;
  /** Which cached block leaves first. Default `'adaptive'`. */
  readonly eviction?: EvictionPolicy;
  /** What becomes of a prompt's part on the host. Default `'auto'`. */
  readonly onboard?: Onboarding;
  /** How much of the device stays free beside what `admission` admits. */
  readonly watermarks?: Watermarks;
  /**
   * The time, which never goes back; from any origin. The library reads it whenever what it does depends on
   * it, and never sets a timer. Default: the system's steady clock.
   */
  readonly clock?: () => Milliseconds;
  /** Whether `takeEvents` tells what prompts can find. Costs 24 bytes a block when true. Default false. */
  readonly events?: boolean;
  /**
   * Whether the kernels write every token's key and value, even where the slot mapping says −1. Then the
   * last block of a wholly cached prompt is copied before it is written to. Default false.
   */
  readonly alwaysWrites?: boolean;
}

/** What the core is told; every number in the range that the core accepts. */
export interface Config {
  readonly blockSize: number;
  readonly groups: readonly GroupLayout[];
  readonly model: ModelShape | undefined;
  readonly maxSequences: number;
  readonly maxSequenceTokens: number;
  readonly maxBatchSequences: number;
  readonly maxBatchTokens: number;
  readonly maxOpenSteps: number;
  readonly maxStepTransfers: number;
  readonly minPartialTokens: number;
  readonly alwaysWrites: boolean;
  readonly hostMode: HostMode;
  readonly hostWrite: HostWrite;
  readonly eviction: EvictionPolicy;
  readonly onboard: Onboarding;
  /** In blocks. */
  readonly lowWater: number;
  readonly highWater: number;
  readonly events: boolean;
  /** Undefined: the core reads the system's. */
  readonly clock: (() => Milliseconds) | undefined;
}

const NAMES = [
  'model',
  'groups',
  'blockSize',
  'device',
  'host',
  'maxSequences',
  'maxSequenceTokens',
  'maxBatchSequences',
  'maxBatchTokens',
  'maxOpenSteps',
  'maxStepTransfers',
  'minPartialTokens',
  'alwaysWrites',
  'eviction',
  'onboard',
  'watermarks',
  'events',
  'clock',
] as const satisfies readonly (keyof KvCacheManagerOptions)[];

const MAX_BATCH_TOKENS = 2 ** 24;
/** Refuses with `INVALID_OPTION` or `UNKNOWN_OPTION`; nothing is made before all is checked. */
export function readManagerOptions(options: unknown): Config {
  const given = readOptions('the manager', options, NAMES);
  const integer = (name: (typeof NAMES)[number], max: number, otherwise: number) =>
    readInteger(name, given[name], 1, max, otherwise);

  const blockSize = integer('blockSize', native.maxBlockSize, 16);
  const maxSequences = integer('maxSequences', native.maxSequences, 256);
  const maxSequenceTokens = integer('maxSequenceTokens', native.maxSequenceTokens, 32768);
  const cells = Math.ceil(maxSequenceTokens / blockSize);
  const transfers = Math.min(Math.max(4096, cells), native.maxBlocksPerPool);
  const { model, groups: shapes } = readShape(given, blockSize);
  const host = readHost(given.host);
  const groups = withPools(shapes, blockSize, given.device, host.size);
  return {
    blockSize,
    groups,
    model,
    maxSequences,
    maxSequenceTokens,
    maxBatchSequences: integer('maxBatchSequences', maxSequences, Math.min(256, maxSequences)),
    maxBatchTokens: integer('maxBatchTokens', MAX_BATCH_TOKENS, 8192),
    maxOpenSteps: integer('maxOpenSteps', native.maxOpenSteps, 2),
    maxStepTransfers: integer('maxStepTransfers', native.maxBlocksPerPool, transfers),
    minPartialTokens: integer('minPartialTokens', blockSize, 1),
    alwaysWrites: readBoolean('alwaysWrites', given.alwaysWrites, false),
    hostMode: host.mode,
    hostWrite: host.write,
    eviction: readChoice('eviction', given.eviction, EVICTION_POLICIES, 'adaptive'),
    onboard: readChoice('onboard', given.onboard, ONBOARDING, 'auto'),
    ...readWatermarks(given.watermarks, groups[0]!.deviceBlocks),
    events: readBoolean('events', given.events, false),
    clock: readClock(given.clock),
  };
}

/** What devices are told. */
export function toLayout(config: Config): CacheLayout {
  return Object.freeze({
    blockSize: config.blockSize,
    maxSequences: config.maxSequences,
    maxBlocksPerSequence: Math.ceil(config.maxSequenceTokens / config.blockSize),
    model: config.model,
    groups: Object.freeze(config.groups),
  });
}

function readWatermarks(options: unknown, blocks: number): Pick<Config, 'lowWater' | 'highWater'> {
  const given = options === undefined ? {} : readOptions('watermarks', options, ['low', 'high']);
  const low = readShare('watermarks.low', given.low, 0, 0.01);
  const high = readShare('watermarks.high', given.high, low, Math.max(low, 0.05));
  return { lowWater: Math.ceil(low * blocks), highWater: Math.ceil(high * blocks) };
}

function readShare(name: string, value: unknown, min: number, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (typeof value === 'number' && value >= min && value <= 1) return value;
  throw new PagedKvError(
    'INVALID_OPTION',
    `${name} must be a share from ${min} to 1, got ${show(value)}`,
  );
}

interface Host {
  /** As `readPool` takes it; undefined for none. */
  readonly size: unknown;
  readonly mode: HostMode;
  readonly write: HostWrite;
}

function readHost(options: unknown): Host {
  if (options === undefined) return { size: undefined, mode: 'exclusive', write: 'back' };
  const { mode, write, ...size } = readOptions('host', options, [
    'blocks',
    'bytes',
    'mode',
    'write',
  ]);
  return {
    size,
    mode: readChoice('host.mode', mode, HOST_MODES, 'exclusive'),
    write: readChoice('host.write', write, HOST_WRITES, 'back'),
  };
}
