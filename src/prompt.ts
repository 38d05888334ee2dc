/** Where a prompt stands: its namespace, and the extra keys of ranges of its tokens. */
import { PagedKvError } from './errors.js';
import { native } from './native.js';
import { checkText, readInteger, readNamespace, readOptions, show } from './validate.js';

export interface NamespaceOption {
  /**
   * The key that keeps prefixes apart (tenant, LoRA): nothing is ever shared across two. At most 1024 bytes
   * of UTF-8. Default `''`.
   */
  readonly namespace?: string;
}

/** Tokens that stand for more than their ids tell, such as an image's, or those under an adapter. */
export interface KeyRange {
  /** The position of the first token. */
  readonly from: number;
  /** The position after the last. Default: no end, so that tokens which are generated later are under it too. */
  readonly to?: number;
  /** What they stand for: a digest of the image, the adapter's name. 1 to 1024 bytes of UTF-8. */
  readonly key: string;
}

export interface PromptOptions extends NamespaceOption {
  /**
   * Extra keys on ranges of positions, sorted and apart, at most 256. Blocks are shared up to the first token
   * whose key differs; blocks before a range, with anyone. The keys are compared, as tokens are, and no hash
   * of ours is trusted.
   */
  readonly keys?: readonly KeyRange[];
}

/** How every native call that finds a prompt ends. */
export type PromptWords =
  | readonly []
  | readonly [name: string]
  | readonly [name: string, keys: Uint32Array, keyBytes: Uint8Array];

/** Records of 3: from, to, bytes of its key; and the bytes of the keys, end to end. */
export type KeyWords = readonly [keys: Uint32Array, keyBytes: Uint8Array];

const RECORD_WORDS = 3;
const NO_END = 2 ** 32 - 1;
const NOTHING: PromptWords = [];

export const PROMPT_OPTIONS = ['namespace', 'keys'] as const;

/** Throws `INVALID_OPTION`, `UNKNOWN_OPTION`, `INVALID_NAMESPACE`, `INVALID_KEYS`. */
export function readPrompt(what: string, options: unknown): PromptWords {
  if (options === undefined) return NOTHING;
  return toPromptWords(readOptions(what, options, PROMPT_OPTIONS));
}

export function toPromptWords(given: { namespace?: unknown; keys?: unknown }): PromptWords {
  const name = readNamespace(given.namespace);
  const keys = given.keys === undefined ? undefined : readKeys(given.keys);
  if (keys !== undefined) return [name ?? '', ...keys];
  return name === undefined ? NOTHING : [name];
}

/** Throws as `readPrompt`. */
export function readKeys(keys: unknown): KeyWords {
  if (!Array.isArray(keys)) {
    throw new PagedKvError(
      'INVALID_KEYS',
      `keys must be an array of { from, to, key }, got ${show(keys)}`,
    );
  }
  const count = keys.length;
  if (count > native.maxKeyRanges) {
    throw new PagedKvError('INVALID_KEYS', `at most ${native.maxKeyRanges} ranges can have keys`);
  }
  const words = new Uint32Array(count * RECORD_WORDS);
  const bytes: Buffer[] = [];
  let end = 0;
  for (let i = 0; i < count; i++) {
    const range = readRange(`keys[${i}]`, keys[i], end);
    words.set([range.from, range.to, range.bytes.length], i * RECORD_WORDS);
    bytes.push(range.bytes);
    end = range.to;
  }
  return [words, Buffer.concat(bytes)];
}

/** `end`: of the range before. */
function readRange(
  what: string,
  options: unknown,
  end: number,
): { from: number; to: number; bytes: Buffer } {
  const given = readOptions(what, options, ['from', 'to', 'key']);
  const from = readInteger(`${what}.from`, given.from, 0, native.maxSequenceTokens);
  const to = readInteger(`${what}.to`, given.to, 0, native.maxSequenceTokens, NO_END);
  if (from < end) {
    throw new PagedKvError(
      'INVALID_KEYS',
      `${what} begins at ${from}, before the one before it ends: sort them, and let them not overlap`,
    );
  }
  if (to <= from) {
    throw new PagedKvError('INVALID_KEYS', `${what} is empty: from ${from} to ${to}`);
  }
  checkText(`${what}.key`, 'INVALID_KEYS', given.key, native.maxKeyBytes);
  if (given.key === '') throw new PagedKvError('INVALID_KEYS', `${what}.key must not be empty`);
  return { from, to, bytes: Buffer.from(given.key) };
}
