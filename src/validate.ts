/** Checks of what users pass: options by name and range, token ids, namespaces. Each refuses with what to do. */
import { isUint32Array } from 'node:util/types';
import { PagedKvError, Status, statusError, type ErrorCode } from './errors.js';
import { native } from './native.js';

// eslint-disable-next-line @typescript-eslint/unbound-method -- it is called on one array after the other
const typedArrayLength = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint32Array.prototype),
  'length',
)!.get!;

/** Token ids, whole numbers from 0 to 2^32 - 1. A `Uint32Array` is read as it is; an array is copied. */
export type TokenIds = Uint32Array | readonly number[];

/** What a user passed, by the names we know. */
export type Given<Name extends string> = Partial<Record<Name, unknown>>;

/**
 * Reads every option once, so that a getter cannot answer differently later, and refuses those that do not
 * exist. `what` names the whole in messages.
 */
export function readOptions<Name extends string>(
  what: string,
  options: unknown,
  names: readonly Name[],
): Given<Name> {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new PagedKvError('INVALID_OPTION', `${what} must be an object, got ${show(options)}`);
  }
  const given: Given<Name> = {};
  for (const key in options) {
    const name = names.find((each) => each === key);
    if (name === undefined) throw unknownOption(what, key, names);
    given[name] = (options as Given<Name>)[name];
  }
  return given;
}

/** A whole number in a range, or the default where it is undefined. */
export function readInteger(
  name: string,
  value: unknown,
  min: number,
  max: number,
  otherwise?: number,
): number {
  if (value === undefined && otherwise !== undefined) return otherwise;
  if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) {
    return value as number;
  }
  throw new PagedKvError(
    'INVALID_OPTION',
    `${name} must be a whole number from ${min} to ${max}, got ${show(value)}`,
  );
}

export function readBoolean(name: string, value: unknown, otherwise: boolean): boolean {
  if (value === undefined) return otherwise;
  if (typeof value === 'boolean') return value;
  throw new PagedKvError('INVALID_OPTION', `${name} must be true or false, got ${show(value)}`);
}

export function readChoice<Choice extends string>(
  name: string,
  value: unknown,
  choices: readonly Choice[],
  otherwise?: Choice,
): Choice {
  if (value === undefined && otherwise !== undefined) return otherwise;
  const choice = choices.find((each) => each === value);
  if (choice !== undefined) return choice;
  const listed = choices.map((each) => `'${each}'`).join(' or ');
  throw new PagedKvError('INVALID_OPTION', `${name} must be ${listed}, got ${show(value)}`);
}

/** The ids as the core reads them: not copied where they are a `Uint32Array` of private memory. */
export function readIds(tokens: TokenIds): Uint32Array {
  if (isUint32Array(tokens)) {
    // Another thread could change shared memory while the core reads it.
    return tokens.buffer instanceof ArrayBuffer ? tokens : new Uint32Array(tokens);
  }
  return copyIds(tokens);
}

/** As `readIds`, for a caller that copies the ids at once. */
export function readIdsToCopy(tokens: TokenIds): Uint32Array {
  return isUint32Array(tokens) ? tokens : copyIds(tokens);
}

/** An argument that the core takes as a word. */
export function readWord(name: string, value: unknown): number {
  if (isWord(value)) return value;
  throw new PagedKvError(
    'INVALID_ARGUMENT',
    `${name} must be a whole number from 0 to 4294967295, got ${show(value)}`,
  );
}

export function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** The real one, whatever the array's own properties say: what is written by it must stay in its bounds. */
export function lengthOf(ids: Uint32Array): number {
  return typedArrayLength.call(ids) as number;
}

export function isWord(value: unknown): value is number {
  return typeof value === 'number' && value >>> 0 === value;
}

export function invalidToken(id: unknown, where: string): PagedKvError {
  return new PagedKvError(
    'INVALID_TOKEN',
    `${where} must be a whole number from 0 to 4294967295, got ${show(id)}`,
  );
}

/** The name as the core takes it: undefined for the default namespace. */
export function readNamespace(namespace: unknown): string | undefined {
  if (namespace === undefined || namespace === '') return undefined;
  checkNamespace(namespace);
  return namespace;
}

/** A broken string turns into U+FFFD on its way to the core, where two of them would be the same. */
const BROKEN = /[\uFFFD\p{Surrogate}]/u;

export function checkNamespace(namespace: unknown): asserts namespace is string {
  checkText('a namespace', 'INVALID_NAMESPACE', namespace, native.maxNamespaceBytes);
}

/** A string that the core compares by its bytes of UTF-8. */
export function checkText(
  what: string,
  code: ErrorCode,
  text: unknown,
  maxBytes: number,
): asserts text is string {
  if (typeof text !== 'string') {
    throw new PagedKvError(code, `${what} must be a string, got ${show(text)}`);
  }
  if (Buffer.byteLength(text) > maxBytes) {
    throw new PagedKvError(
      code,
      `${what} must fit in ${maxBytes} bytes of UTF-8: give a digest instead`,
    );
  }
  if (BROKEN.test(text)) {
    throw new PagedKvError(code, `${what} must be well-formed, without lone surrogates or U+FFFD`);
  }
}

/** A value in a message: short, and harmless whatever it is. */
export function show(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return `'${value.length > 40 ? `${value.slice(0, 40)}…` : value}'`;
    case 'bigint':
      return `${value}n`;
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'function':
      return 'a function';
    case 'symbol':
      return 'a symbol';
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? 'an array' : 'an object';
  }
}

function copyIds(tokens: readonly number[]): Uint32Array {
  if (!Array.isArray(tokens)) {
    throw new PagedKvError(
      'INVALID_TOKEN',
      `tokens must be a Uint32Array or an array of numbers, got ${show(tokens)}`,
    );
  }
  const length = tokens.length;
  if (length > native.maxSequenceTokens) throw statusError(Status.sequenceTooLong);
  const ids = new Uint32Array(length);
  for (let i = 0; i < length; i++) {
    const id: unknown = tokens[i];
    if (!isWord(id)) throw invalidToken(id, `token ${i}`);
    ids[i] = id;
  }
  return ids;
}

function unknownOption(what: string, key: string, names: readonly string[]): PagedKvError {
  const nearest = names.find((name) => isNear(key.toLowerCase(), name.toLowerCase()));
  const hint =
    nearest === undefined ? `${what} knows ${names.join(', ')}` : `did you mean '${nearest}'?`;
  return new PagedKvError('UNKNOWN_OPTION', `unknown option ${show(key)}: ${hint}`);
}

/** Whether two words are at most two edits apart (Levenshtein's distance, one row at a time). */
export function isNear(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 2) return false;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]! <= 2;
}
