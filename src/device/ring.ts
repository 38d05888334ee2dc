/** A fixed number of things that are handed out in turns. */
export class Ring<T> {
  /** Those that were given back first come first. */
  readonly #idle: T[];
  readonly #size: number;
  readonly #waiting: ((thing: T) => void)[] = [];

  constructor(things: Iterable<T>) {
    this.#idle = [...things];
    this.#size = this.#idle.length;
  }

  /** Whether nobody has any. */
  get isWhole(): boolean {
    return this.#idle.length === this.#size;
  }

  /** Whoever asks first is served first, so that a long transfer and a step take turns. */
  acquire(): Promise<T> {
    const thing = this.#idle.shift();
    if (thing !== undefined) return Promise.resolve(thing);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  release(thing: T): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(thing);
    else next(thing);
  }
}
