/** What fragmentation depends on in a request, and the files that tell it. */
import { isJsonObject, isWhole, parseLine, type JsonLine } from '../json.js';
import { lineError, type CliError } from '../errors.js';
import { eachLine } from '../lines.js';
import { show } from '../../validate.js';

export interface Lengths {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** At least 1. */
export function totalTokens({ inputTokens, outputTokens }: Lengths): number {
  return inputTokens + outputTokens;
}

/** What its first pass computes: the prompt, or the first token where there is none. */
export function firstPassTokens({ inputTokens }: Lengths): number {
  return Math.max(1, inputTokens);
}

/** The columns of the Azure LLM inference traces. */
const CSV_COLUMNS = ['TIMESTAMP', 'ContextTokens', 'GeneratedTokens'] as const;
const CSV_HEADER = CSV_COLUMNS.join();

/**
 * The requests of a file, in its order: JSON lines of `[t_ms, in, out]`, with or without a header line, or
 * CSV with the columns of the Azure traces; plain or gzipped. Throws a `CliError` that names the line.
 */
export async function readLengths(path: string): Promise<readonly Lengths[]> {
  const reader = new LengthsReader(path);
  await eachLine(path, (text, line) => reader.take(text, line));
  return reader.end();
}

class LengthsReader {
  readonly #path: string;
  readonly #requests: Lengths[] = [];
  #isCsv = false;
  /** Of the header, where it tells. */
  #promised: number | undefined;
  #lines = 0;
  #lastLine = 0;

  constructor(path: string) {
    this.#path = path;
  }

  take(text: string, line: number): void {
    this.#lines += 1;
    this.#lastLine = line;
    if (this.#lines === 1 && this.#takeHeader(text, line)) return;
    const lengths = this.#isCsv
      ? readCsvRow(this.#path, line, text)
      : readTriple(parseLine(this.#path, line, text));
    this.#requests.push(lengths);
  }

  end(): readonly Lengths[] {
    const count = this.#requests.length;
    const promised = this.#promised ?? count;
    if (count === promised && count > 0) return this.#requests;
    const problem =
      count === 0
        ? 'there is a header and no request'
        : `the file ends after ${count} requests, and its header says ${promised}`;
    throw lineError(this.#path, this.#lastLine, problem, 'copy or download the file again');
  }

  #takeHeader(text: string, line: number): boolean {
    if (text.trimStart().startsWith('[')) return false;
    if (!text.trimStart().startsWith('{')) {
      this.#isCsv = true;
      checkCsvHeader(this.#path, line, text);
      return true;
    }
    const { value } = parseLine(this.#path, line, text);
    if (!isJsonObject(value) || !isJsonObject(value.header)) throw noHeader(this.#path, line, text);
    const { requests } = value.header;
    if (isWhole(requests)) this.#promised = requests;
    return true;
  }
}

function readTriple(line: JsonLine): Lengths {
  const { value } = line;
  if (Array.isArray(value) && value.length === 3 && isTime(value[0])) {
    const lengths = toLengths(value[1], value[2]);
    if (lengths !== undefined) return lengths;
  }
  throw line.fail(
    `${JSON.stringify(value)} is no request`,
    'make it [t_ms,in,out]: whole numbers from 0, at least one token',
  );
}

function isTime(value: unknown): boolean {
  return typeof value === 'number' && value >= 0;
}

function readCsvRow(path: string, line: number, text: string): Lengths {
  const cells = text.trim().split(',');
  const [time, input, output] = cells;
  if (cells.length === CSV_COLUMNS.length && time !== '') {
    const lengths = toLengths(toWhole(input), toWhole(output));
    if (lengths !== undefined) return lengths;
  }
  throw lineError(
    path,
    line,
    `${show(text)} is no request`,
    `make it ${CSV_HEADER}, the tokens as whole numbers from 0, at least one`,
  );
}

/** Undefined for what is no request. */
function toLengths(inputTokens: unknown, outputTokens: unknown): Lengths | undefined {
  if (!isWhole(inputTokens) || !isWhole(outputTokens)) return undefined;
  return inputTokens + outputTokens > 0 ? { inputTokens, outputTokens } : undefined;
}

function toWhole(cell: string | undefined): number | undefined {
  return cell !== undefined && /^\d+$/.test(cell.trim()) ? Number(cell) : undefined;
}

function checkCsvHeader(path: string, line: number, text: string): void {
  // A byte order mark is white space to trim().
  if (text.trim() !== CSV_HEADER) throw noHeader(path, line, text);
}

function noHeader(path: string, line: number, text: string): CliError {
  return lineError(
    path,
    line,
    `${show(text)} is neither a header nor a request`,
    `the file is JSON lines of [t_ms,in,out], or CSV that begins with ${CSV_HEADER}`,
  );
}
