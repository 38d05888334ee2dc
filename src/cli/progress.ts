/**
 * How far a command has come, on stderr, so that stdout stays for the result: one line that is rewritten on
 * a terminal, else a new line now and then.
 */
const TERMINAL_INTERVAL_MS = 80;
const PLAIN_INTERVAL_MS = 5000;

/** Of a stream, what the line needs. */
export interface LineStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export class Progress {
  readonly #stream: LineStream;
  readonly #interval_ms: number;
  #shownAt_ms = performance.now();
  #isDirty = false;

  /** Where a program reads the result (`isForPrograms`) and nobody watches, nothing is shown. */
  constructor(isForPrograms: boolean, stream: LineStream = process.stderr) {
    this.#stream = stream;
    if (stream.isTTY) this.#interval_ms = TERMINAL_INTERVAL_MS;
    else this.#interval_ms = isForPrograms ? Infinity : PLAIN_INTERVAL_MS;
  }

  /** `text` is only called when the line is due. */
  show(text: () => string): void {
    const now = performance.now();
    if (now - this.#shownAt_ms < this.#interval_ms) return;
    this.#shownAt_ms = now;
    if (!this.#stream.isTTY) {
      this.#stream.write(`${text()}\n`);
      return;
    }
    const width = this.#stream.columns ?? 80;
    this.#stream.write(`\r\x1b[K${text().slice(0, width - 1)}`);
    this.#isDirty = true;
  }

  /** Leaves the terminal's line empty for what is printed next. */
  clear(): void {
    if (this.#isDirty) this.#stream.write('\r\x1b[K');
    this.#isDirty = false;
  }
}
