/** The lines of a text file, gzipped or plain, a chunk at a time. */
import { createReadStream, type ReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { StringDecoder } from 'node:string_decoder';
import { createGunzip } from 'node:zlib';
import { CliError, lineError } from './errors.js';

/** The first bytes of gzip (RFC 1952). */
const GZIP = [0x1f, 0x8b] as const;
/** Nothing that these commands read comes near; a binary file would otherwise be one endless line. */
const MAX_LINE_CHARACTERS = 2 ** 26;

/**
 * Calls `take` with every line that is not blank, and its number from 1. Throws a `CliError` where the file
 * is missing, unreadable, empty, or no whole gzip, and what `take` throws.
 */
export async function eachLine(
  path: string,
  take: (text: string, line: number) => void,
): Promise<void> {
  const lines = new LineSplitter(path, take);
  try {
    for await (const chunk of await openText(path)) lines.push(chunk as Buffer);
  } catch (error) {
    throw toCliError(error, path, lines.count + 1);
  }
  lines.end();
  if (lines.taken === 0) {
    throw lineError(path, 1, 'the file is empty', 'it should hold one JSON value a line');
  }
}

class LineSplitter {
  /** Whole lines so far. */
  count = 0;
  /** Of these, those that were not blank. */
  taken = 0;
  readonly #path: string;
  readonly #take: (text: string, line: number) => void;
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  constructor(path: string, take: (text: string, line: number) => void) {
    this.#path = path;
    this.#take = take;
  }

  push(chunk: Buffer): void {
    const parts = (this.#rest + this.#decoder.write(chunk)).split('\n');
    this.#rest = parts.pop()!;
    for (const part of parts) this.#line(part);
    if (this.#rest.length <= MAX_LINE_CHARACTERS) return;
    throw lineError(this.#path, this.count + 1, 'a line without an end', 'this is no JSON lines');
  }

  end(): void {
    const rest = this.#rest + this.#decoder.end();
    if (rest !== '') this.#line(rest);
  }

  #line(text: string): void {
    this.count += 1;
    if (text.trim() === '') return;
    this.taken += 1;
    this.#take(text, this.count);
  }
}

async function openText(path: string): Promise<AsyncIterable<unknown>> {
  const isGzip = await startsAsGzip(path);
  const file: ReadStream = createReadStream(path);
  if (!isGzip) return file;
  const gunzip = createGunzip();
  file.on('error', (error) => gunzip.destroy(error));
  return file.pipe(gunzip);
}

async function startsAsGzip(path: string): Promise<boolean> {
  await using file = await open(path);
  const { bytesRead, buffer } = await file.read(Buffer.alloc(GZIP.length), 0, GZIP.length, 0);
  return bytesRead === GZIP.length && GZIP.every((byte, i) => buffer[i] === byte);
}

function toCliError(error: unknown, path: string, line: number): unknown {
  if (!(error instanceof Error) || error instanceof CliError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (code.startsWith('Z_')) {
    return lineError(
      path,
      line,
      `the gzip data is broken or cut off here (${error.message})`,
      'copy or download the file again',
    );
  }
  const reasons: Partial<Record<string, string>> = {
    ENOENT: 'there is no such file',
    EISDIR: 'it is a folder',
    EACCES: 'reading it is not allowed',
  };
  const reason = reasons[code];
  if (reason !== undefined) return new CliError(`cannot read ${path}: ${reason}`);
  return code === '' ? error : new CliError(`cannot read ${path}: ${error.message}`);
}
