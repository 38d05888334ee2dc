/** One line of a trace, of either format, checked field by field. */
import {
  isJsonObject,
  isWhole,
  readArray,
  readNumber,
  readWhole,
  type JsonLine,
  type JsonObject,
} from '../json.js';
import { native } from '../../native.js';
import { show } from '../../validate.js';

/** Ids of blocks in a row, as pairs: the first id and how many. */
export type IdRanges = readonly number[];

export interface Request {
  readonly time_ms: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** The chain of the prompt. */
  readonly input: IdRanges;
  /** What the output went on with, in full blocks. */
  readonly output: IdRanges;
  readonly session: string | number | undefined;
  /** Why the output ended; '' where the trace does not tell. */
  readonly stop: string;
}

/** `{t, in, out, h, o?, s?, stop?}`. */
export function readRequest(line: JsonLine): Request {
  const object = readObject(line);
  return {
    time_ms: readNumber(line, object, 't'),
    inputTokens: readWhole(line, object, 'in', 0, native.maxSequenceTokens),
    outputTokens: readWhole(line, object, 'out', 0, native.maxSequenceTokens),
    input: readRanges(line, object, 'h'),
    output: object.o === undefined ? [] : readRanges(line, object, 'o'),
    session: readSession(line, object.s),
    stop: readStop(line, object.stop),
  };
}

/** Mooncake's `{timestamp, input_length, output_length, hash_ids}`. */
export function readMooncakeRequest(line: JsonLine): Request {
  const object = readObject(line);
  return {
    time_ms: readNumber(line, object, 'timestamp'),
    inputTokens: readWhole(line, object, 'input_length', 0, native.maxSequenceTokens),
    outputTokens: readWhole(line, object, 'output_length', 0, native.maxSequenceTokens),
    input: readHashIds(line, object),
    output: [],
    session: undefined,
    stop: '',
  };
}

export function isMooncake(value: unknown): boolean {
  return isJsonObject(value) && ('hash_ids' in value || 'input_length' in value);
}

export function lengthOfRanges(ranges: IdRanges): number {
  let length = 0;
  for (let i = 1; i < ranges.length; i += 2) length += ranges[i]!;
  return length;
}

function readObject(line: JsonLine): JsonObject {
  if (isJsonObject(line.value)) return line.value;
  throw line.fail(`${show(line.value)} is no request`, 'each line is one JSON object');
}

function readRanges(line: JsonLine, object: JsonObject, field: string): IdRanges {
  const ranges: number[] = [];
  for (const range of readArray(line, object, field)) {
    if (!isRange(range)) {
      throw line.fail(
        `'${field}' has ${JSON.stringify(range)}`,
        'each of its parts is [first id, how many], whole numbers, from 0 and from 1',
      );
    }
    ranges.push(range[0], range[1]);
  }
  return ranges;
}

function isRange(value: unknown): value is [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every(isWhole) && value[1]! > 0;
}

function readHashIds(line: JsonLine, object: JsonObject): IdRanges {
  const ranges: number[] = [];
  let next = -1;
  for (const id of readArray(line, object, 'hash_ids')) {
    if (!isWhole(id)) {
      throw line.fail(`'hash_ids' has ${show(id)}`, 'its ids are whole numbers from 0 to 2^53 - 1');
    }
    if (id === next) ranges[ranges.length - 1]! += 1;
    else ranges.push(id, 1);
    next = id + 1;
  }
  return ranges;
}

function readSession(line: JsonLine, session: unknown): string | number | undefined {
  if (session === undefined || typeof session === 'string' || isWhole(session)) return session;
  throw line.fail(`'s' is ${show(session)}`, 'a session is a whole number or a string');
}

function readStop(line: JsonLine, stop: unknown): string {
  if (stop === undefined) return '';
  if (typeof stop === 'string') return stop;
  throw line.fail(`'stop' is ${show(stop)}`, 'make it a string, or leave it out');
}
