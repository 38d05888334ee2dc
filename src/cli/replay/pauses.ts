/** How long sessions pause after an output that ended in some way, as far as the replay has come. */

/** The mean of a logarithm follows its last so many pauses. */
const MEMORY = 50;

export class Pauses {
  readonly #meanLogs = new Map<string, number>();

  /** A session went on so many ms after an output that stopped like this. */
  saw(stop: string, pause_ms: number): void {
    const log = Math.log(Math.max(1, pause_ms));
    const mean = this.#meanLogs.get(stop) ?? log;
    this.#meanLogs.set(stop, mean + (log - mean) / MEMORY);
  }

  /** In ms, or undefined where nothing was seen. */
  after(stop: string): number | undefined {
    const mean = this.#meanLogs.get(stop);
    return mean === undefined ? undefined : Math.exp(mean);
  }
}
