/** Reads a trace file of either format: with a header line, or Mooncake's own without one. */
import { basename } from 'node:path';
import { native } from '../../native.js';
import { show } from '../../validate.js';
import { lineError } from '../errors.js';
import { isJsonObject, parseLine, readWhole, type JsonLine } from '../json.js';
import { eachLine } from '../lines.js';
import { isMooncake, readMooncakeRequest, readRequest, type Request } from './request.js';
import { RequestCollector, type Trace } from './trace.js';

/** Of the traces that Mooncake publishes, which do not tell it. */
const MOONCAKE_BLOCK_SIZE = 512;

export interface TraceFile {
  readonly trace: Trace;
  /** What is odd about the file and no reason to refuse it. */
  readonly warnings: readonly string[];
}

/** Throws a `CliError` that names the line for a file that is no whole, consistent trace. */
export async function readTrace(
  path: string,
  onRequest: (count: number) => void,
): Promise<TraceFile> {
  const reader = new TraceReader(path);
  await eachLine(path, (text, line) => {
    reader.take(parseLine(path, line, text));
    reader.lines = line;
    onRequest(reader.count);
  });
  return reader.finish();
}

/** What the first line says of the others. */
interface Header {
  readonly blockSize: number;
  readonly name: string;
  readonly requests: number | undefined;
  readonly blocks: number | undefined;
  /** Whether the format promises that the requests are sorted by time. */
  readonly isInOrder: boolean;
  readonly readRequest: (line: JsonLine) => Request;
}

class TraceReader {
  lines = 0;
  readonly #path: string;
  #header: Header | undefined;
  #requests: RequestCollector | undefined;
  #time_ms = 0;

  constructor(path: string) {
    this.#path = path;
  }

  get count(): number {
    return this.#requests?.count ?? 0;
  }

  take(line: JsonLine): void {
    if (this.#header !== undefined) {
      this.#takeRequest(this.#header, line);
      return;
    }
    const header = readHeader(line, nameOf(this.#path));
    this.#header = header;
    this.#requests = new RequestCollector(header.blockSize);
    if (isMooncake(line.value)) this.#takeRequest(header, line);
  }

  finish(): TraceFile {
    const { name, blockSize, requests, blocks } = this.#header!;
    const collector = this.#requests!;
    const found = collector.count;
    if (requests !== undefined && found !== requests) {
      const mend = found < requests ? 'the file is cut off: copy it again' : 'correct the header';
      throw this.#failAtEnd(`the header promises ${requests} requests, here are ${found}`, mend);
    }
    if (collector.blocks === 0) {
      throw this.#failAtEnd('no request has a block', 'there is nothing to replay');
    }
    const trace = { name, blockSize, blocks: blocks ?? collector.blocks };
    const isOdd = trace.blocks !== collector.blocks;
    return {
      trace: { ...trace, requests: collector.finish() },
      warnings: isOdd
        ? [
            `${this.#path}:1: the header says ${trace.blocks} blocks, the requests have ` +
              `${collector.blocks}; percents are of the header's`,
          ]
        : [],
    };
  }

  #takeRequest(header: Header, line: JsonLine): void {
    const request = header.readRequest(line);
    if (header.isInOrder && request.time_ms < this.#time_ms) {
      throw line.fail(
        `a request at ${request.time_ms} ms after one at ${this.#time_ms} ms`,
        'sort the requests by time',
      );
    }
    this.#time_ms = request.time_ms;
    this.#requests!.add(request, line);
  }

  #failAtEnd(problem: string, mend: string): Error {
    return lineError(this.#path, this.lines, problem, mend);
  }
}

function readHeader(line: JsonLine, name: string): Header {
  if (isMooncake(line.value)) {
    return {
      blockSize: MOONCAKE_BLOCK_SIZE,
      name,
      requests: undefined,
      blocks: undefined,
      isInOrder: false,
      readRequest: readMooncakeRequest,
    };
  }
  const header = isJsonObject(line.value) ? line.value.header : undefined;
  if (!isJsonObject(header)) {
    throw line.fail(
      `${show(line.value)} is no header`,
      'a trace begins with {"header":{"block":…,"requests":…,"blocks":…}}, or has hash_ids on each line',
    );
  }
  if (!('block' in header) && 'fields' in header) {
    throw line.fail('a file of lengths, without blocks', 'give it to pagedkv fragmentation');
  }
  const optional = (field: string): number | undefined =>
    header[field] === undefined ? undefined : readWhole(line, header, field, 1, 2 ** 32);
  return {
    blockSize: readWhole(line, header, 'block', 1, native.maxBlockSize),
    name: typeof header.name === 'string' ? header.name : name,
    requests: optional('requests'),
    blocks: optional('blocks'),
    isInOrder: true,
    readRequest,
  };
}

function nameOf(path: string): string {
  return basename(path)
    .replace(/\.gz$/, '')
    .replace(/\.jsonl?$/, '');
}
