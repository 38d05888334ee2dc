/**
 * The live line, on stderr, so that stdout stays for the result: rewritten in place on a terminal, else a
 * new line now and then.
 */
const terminalInterval_ms = 80;
const plainInterval_ms = 5000;

/** Of a stream, what the line needs. */
export interface LineStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export class LiveLine {
  readonly #stream: LineStream;
  #shownAt = 0;
  #isDirty = false;

  constructor(stream: LineStream = process.stderr) {
    this.#stream = stream;
  }

  /** `text` is only called when the line is due. */
  show(text: () => string): void {
    const now = performance.now();
    const interval = this.#stream.isTTY ? terminalInterval_ms : plainInterval_ms;
    if (now - this.#shownAt < interval) return;
    this.#shownAt = now;
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
    this.#shownAt = 0;
  }
}

/** A pool drawn with one character for every few blocks: held, cached, free. */
export function drawPool(held: number, cached: number, total: number, width: number): string {
  const cells = (blocks: number): number => Math.round((blocks / Math.max(1, total)) * width);
  const heldCells = cells(held);
  const cachedCells = Math.min(width - heldCells, cells(cached));
  return (
    '█'.repeat(heldCells) + '▒'.repeat(cachedCells) + '·'.repeat(width - heldCells - cachedCells)
  );
}
