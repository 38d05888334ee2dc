/** Fields of the JSON objects that stand on the lines of a file, each checked as it is read. */
import { show } from '../validate.js';
import { lineError, type CliError } from './errors.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/** A line as its reader sees it: its value, and the way to refuse it. */
export interface JsonLine {
  readonly value: unknown;
  /** `mend`: what would make the line right. */
  fail(problem: string, mend: string): CliError;
}

/** Throws a `CliError` that names the line where it is no JSON. */
export function parseLine(path: string, line: number, text: string): JsonLine {
  const fail = (problem: string, mend: string) => lineError(path, line, problem, mend);
  try {
    return { value: JSON.parse(text) as unknown, fail };
  } catch {
    throw fail(`no JSON: ${show(text)}`, 'the line is broken or cut off: copy the file again');
  }
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The number of a field, from 0 up. Throws a `CliError` for anything else. */
export function readNumber(line: JsonLine, object: JsonObject, field: string): number {
  const value = object[field];
  if (typeof value === 'number' && value >= 0) return value;
  throw wrongField(line, object, field, 'a number from 0');
}

/** As `readNumber`, for whole numbers up to `max`. */
export function readWhole(
  line: JsonLine,
  object: JsonObject,
  field: string,
  min: number,
  max: number,
): number {
  const value = object[field];
  if (isWhole(value) && value >= min && value <= max) return value;
  throw wrongField(line, object, field, `a whole number from ${min} to ${max}`);
}

export function readArray(line: JsonLine, object: JsonObject, field: string): readonly unknown[] {
  const value = object[field];
  if (Array.isArray(value)) return value as readonly unknown[];
  throw wrongField(line, object, field, 'an array');
}

export function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function wrongField(line: JsonLine, object: JsonObject, field: string, wanted: string): CliError {
  if (!(field in object)) return line.fail(`'${field}' is missing`, `give it ${wanted}`);
  return line.fail(`'${field}' is ${show(object[field])}`, `make it ${wanted}`);
}
