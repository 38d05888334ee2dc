/** How long blocks are kept: what callers can ask for, and what they can tell of the next use. */
import { PagedKvError } from './errors.js';
import { native } from './native.js';
import { isWord, readInteger, readOptions, show } from './validate.js';

export type Milliseconds = number;

/** What is asked for a range of tokens. It holds until something else is asked for the same blocks. */
export interface Retention {
  /**
   * 0 to 6: while a block of a lower priority is left, none of a higher one is evicted, however long ago it
   * was used. Default 3, which everything has that nothing was asked for.
   */
  readonly priority?: number;
  /** So long after its last use a block goes before all others, whatever its priority. Default: never. */
  readonly ttl?: Milliseconds;
  /** The first token. Default 0. */
  readonly from?: number;
  /** The token after the last. A block belongs to the range that its last token is in. Default: no end. */
  readonly to?: number;
}

/** What is known of the next use: in how many milliseconds it is expected, or that there will be none. */
export type Reuse = Milliseconds | 'never';

export interface CloseOptions {
  /**
   * When what the sequence leaves in memory is expected to be used again; `'never'` when the conversation is
   * over: what only it used is then evicted first. Default: not known.
   */
  readonly reuse?: Reuse;
}

/** As the core takes it. */
export interface RetentionWords {
  readonly from: number;
  readonly to: number;
  readonly priority: number;
  readonly life: Milliseconds;
}

const MAX_WORD = 2 ** 32 - 1;
const NO_END = MAX_WORD;
export const REUSE_UNKNOWN = MAX_WORD;
const REUSE_NEVER = MAX_WORD - 1;
/** 24 days. */
const MAX_MILLISECONDS = 2 ** 31 - 1;
const DEFAULT_PRIORITY = 3;

export function readRetention(options: unknown): RetentionWords {
  const given = readOptions('a retention', options, ['priority', 'ttl', 'from', 'to']);
  const from = readInteger('from', given.from, 0, NO_END - 1, 0);
  return {
    from,
    to: readInteger('to', given.to, from + 1, NO_END, NO_END),
    priority: readInteger('priority', given.priority, 0, native.priorities - 1, DEFAULT_PRIORITY),
    life: given.ttl === undefined ? 0 : readMilliseconds('ttl', given.ttl, 1),
  };
}

export function readReuse(reuse: unknown): number {
  if (reuse === undefined) return REUSE_UNKNOWN;
  return reuse === 'never' ? REUSE_NEVER : readMilliseconds('reuse', reuse, 0);
}

export function readCloseOptions(options: unknown): number {
  return readReuse(readOptions('close', options, ['reuse']).reuse);
}

export function readClock(clock: unknown): (() => Milliseconds) | undefined {
  if (clock === undefined) return undefined;
  if (typeof clock === 'function') return clock as () => Milliseconds;
  throw new PagedKvError('INVALID_OPTION', `clock must be a function, got ${show(clock)}`);
}

/** Throws `INVALID_CLOCK`. */
export function readTime(clock: () => Milliseconds): Milliseconds {
  const now: unknown = clock();
  if (typeof now === 'number' && now >= 0 && now < Number.MAX_SAFE_INTEGER) return now;
  throw new PagedKvError(
    'INVALID_CLOCK',
    `the clock must tell milliseconds, from 0 up, and told ${show(now)}`,
  );
}

/** Whole ones, rounded up: what is asked for is kept at least so long. */
function readMilliseconds(name: string, value: unknown, min: Milliseconds): number {
  const whole = typeof value === 'number' ? Math.ceil(value) : NaN;
  if (isWord(whole) && whole >= min && whole <= MAX_MILLISECONDS) return whole;
  throw new PagedKvError(
    'INVALID_OPTION',
    `${name} must be milliseconds from ${min} to ${MAX_MILLISECONDS}, got ${show(value)}`,
  );
}
