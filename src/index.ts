/** The public names of `pagedkv`. */
export type { Batch } from './batch.js';
export { PagedKvError, type ErrorCode } from './errors.js';
export {
  KvCacheManager,
  type Admission,
  type BatchEntry,
  type Lookup,
  type OpenOptions,
  type OutOfBlocks,
} from './manager.js';
export type {
  Costs,
  Onboarding,
  PrefillCost,
  PrefillReport,
  TransferCost,
  TransferReport,
} from './costs.js';
export type { PreemptOptions, Victim, VictimOptions } from './preempt.js';
export type { CloseOptions, Milliseconds, Retention, Reuse } from './retention.js';
export type {
  BlockKey,
  CacheEvent,
  EventsOptions,
  RemovedEvent,
  ResetEvent,
  StoredEvent,
} from './events.js';
export type { KeyRange, NamespaceOption, PromptOptions } from './prompt.js';
export type { Pin } from './pin.js';
export type { Bytes, GroupOptions, PoolSize } from './groups.js';
export type { EvictionPolicy, HostOptions, KvCacheManagerOptions, Watermarks } from './options.js';
export type * from './plan.js';
export { COPY_WORDS, MOVE_WORDS } from './words.js';
export type { QuotaOptions, TierQuota } from './quota.js';
export type { Sequence, SequenceState } from './sequence.js';
export type { Stats, TierStats } from './stats.js';
export type { Step, Transfer } from './step.js';
export type { TokenIds } from './validate.js';
