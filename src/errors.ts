/** The one error class of the library, its codes, and what each status of the core means to people. */

/** What the core and the binding answer; `native/core/types.h` and `native/binding/reply.h` have the numbers. */
export const Status = {
  ok: 0,
  outOfBlocks: 1,
  sequenceClosed: 3,
  sequenceForeign: 4,
  emptyTokens: 13,
  batchTooLarge: 14,
  sequenceTooLong: 15,
  stepClosed: 17,
  managerClosed: 101,
  outOfMemory: 102,
} as const;

/** By status. Out of blocks is missing: it is a result, not an error. */
const MEANINGS = {
  2: ['INVALID_OPTION', 'the limits given contradict each other'],
  3: ['SEQUENCE_CLOSED', 'the sequence was closed: open another'],
  4: ['SEQUENCE_FOREIGN', 'the sequence belongs to another manager'],
  5: ['SEQUENCE_DROPPED', 'the sequence was preempted by dropping: call its resume() first'],
  6: ['SEQUENCE_NOT_DROPPED', 'only a sequence that was preempted by dropping can resume'],
  7: ['SEQUENCE_IN_STEP', 'a step with this sequence is open: commit or abort it first'],
  8: ['TOO_MANY_SEQUENCES', 'maxSequences are open: close one, or give a larger limit'],
  9: ['TOO_MANY_OPEN_STEPS', 'maxOpenSteps are open: commit or abort one, or give a larger limit'],
  10: ['TOO_MANY_NAMESPACES', 'every namespace is in use: close sequences, or clear() one'],
  11: ['BEYOND_END', 'past the committed length of the sequence'],
  12: ['EMPTY_BATCH', 'a batch needs at least one sequence'],
  13: ['EMPTY_TOKENS', 'at least one token is needed'],
  14: ['BATCH_TOO_LARGE', 'more than maxBatchSequences or maxBatchTokens: split the batch'],
  15: ['SEQUENCE_TOO_LONG', 'the sequence would pass maxSequenceTokens'],
  16: ['DUPLICATE_IN_BATCH', 'a sequence stands twice in the batch: give all its tokens at once'],
  17: ['STEP_CLOSED', 'the step was committed or aborted before'],
  18: ['STEP_FOREIGN', 'the step belongs to another manager'],
  19: ['STEP_OUT_OF_ORDER', 'steps are executed and committed in the order they were scheduled'],
  20: ['STEP_EXECUTED', 'beginExecute() and endExecute() are called once each, in this order'],
  21: [
    'IDS_MISSING',
    'commit() needs exactly the ids of the tokens that were scheduled as a count',
  ],
  22: ['TRANSFER_CLOSED', 'the transfer has ended before'],
  24: [
    'TOO_MANY_TRANSFERS',
    'more moves than maxStepTransfers: split the batch, or raise the limit',
  ],
  25: ['STEP_FAILED', 'the execution of this step failed: abort it'],
  26: ['INDEX_FULL', 'the prefix index has no room for this: close or preempt sequences'],
  28: [
    'TOO_MANY_RETENTIONS',
    'a sequence keeps what was asked for 4 ranges: ask again for one of these, or for a wider one',
  ],
  29: ['INVALID_KEYS', 'ranges of keys must be sorted and apart, and each have a key'],
  31: ['NOT_IN_STEP', 'the step has no entry of this sequence'],
  32: ['ACCEPTED_TWICE', 'accept() is called once for an entry of a step'],
  33: ['INVALID_PATH', 'the entry has no such query tokens'],
  34: [
    'BUILT_UPON',
    'a later open step was planned on top of what this rejects: abort that one first',
  ],
  30: ['EVENTS_OFF', 'the manager keeps no events: give it the option events'],
  27: ['STEP_EXECUTING', 'a device is still executing the step: await execute() first'],
  40: [
    'QUOTA_TOO_LARGE',
    'all namespaces together would keep more than the tier has: lower a min, or give a larger pool',
  ],
  41: ['TOO_MANY_QUOTAS', '255 namespaces have a quota: take one back, or let tenants share one'],
  42: [
    'QUOTA_IN_USE',
    'the namespace has blocks, and a step or a transfer is open: end it before a first quota is set, ' +
      'or the last one taken back',
  ],
  100: ['INVALID_ARGUMENT', 'an argument has the wrong type or is out of range'],
  101: ['MANAGER_CLOSED', 'the manager was closed: make another'],
  102: ['OUT_OF_MEMORY', 'the memory for this could not be had'],
  103: ['INTERNAL', 'the native core failed in a way it should not: please report this'],
  104: ['CACHE_DESTROYED', 'the cache was destroyed'],
  105: ['OUT_OF_RANGE', 'the layout does not have the blocks that are to be moved'],
} as const satisfies Record<number, readonly [string, string]>;

type StatusCode = (typeof MEANINGS)[keyof typeof MEANINGS][0];

/** Stable strings for programs. The first are answers of the core; the rest is found out before or around it. */
export type ErrorCode =
  | StatusCode
  /** An option that does not exist, most likely a misspelled one. */
  | 'UNKNOWN_OPTION'
  /** A token id that is no whole number from 0 to 2^32 - 1. */
  | 'INVALID_TOKEN'
  /** The `clock` option answered with something that is no time. */
  | 'INVALID_CLOCK'
  /** A namespace that is no string, too long, or a broken one. */
  | 'INVALID_NAMESPACE'
  /** A method that was called on an object it does not belong to. */
  | 'INVALID_RECEIVER'
  /** A batch of another manager. */
  | 'BATCH_FOREIGN'
  /** `validate()` found a broken invariant: a defect of this library. */
  | 'INVARIANT_BROKEN'
  /** The native addon was not built. */
  | 'NATIVE_MISSING'
  /** An execution that its caller cancelled. */
  | 'EXECUTION_CANCELLED'
  /** The GPU device is gone: make another, and another cache. */
  | 'DEVICE_LOST'
  /** No driver offers a GPU, nor software that stands in for one. */
  | 'NO_ADAPTER'
  /** The `webgpu` package is not installed. */
  | 'WEBGPU_MISSING'
  /** The GPU has no room for the device tier. */
  | 'OUT_OF_DEVICE_MEMORY'
  /** One plane exceeds what the GPU device can bind. */
  | 'PLANE_TOO_LARGE'
  /** A token's bytes in a plane are not whole words of 4 bytes, which a GPU moves. */
  | 'PLANE_ALIGNMENT'
  /** The layer has no plane of that name. */
  | 'UNKNOWN_PLANE'
  /** The layout has groups but no model, so the type of its elements is unknown. */
  | 'NO_MODEL'
  /** Heads that do not divide or are too long, or a tensor of the wrong length. */
  | 'ATTENTION_SHAPE'
  /** Arrays for a kernel's metadata that have no room for a step. */
  | 'METADATA_TOO_SMALL';

/** Thrown on every misuse. `code` is stable and meant for programs; the message is for people. */
export class PagedKvError extends Error {
  override readonly name = 'PagedKvError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The error for a status that is neither ok nor a result. */
export function statusError(status: number): PagedKvError {
  const meanings: Partial<Record<number, readonly [ErrorCode, string]>> = MEANINGS;
  const [code, message] = meanings[status] ?? MEANINGS[103];
  return new PagedKvError(code, message);
}

/** Throws unless the status is ok. */
export function check(status: number): void {
  if (status !== Status.ok) throw statusError(status);
}

/** The error for a method that was borrowed from its class, or a constructor called from outside. */
export function invalidReceiver(what: string): PagedKvError {
  return new PagedKvError('INVALID_RECEIVER', `not a ${what} that a KvCacheManager made`);
}
