/**
 * The pieces of one execution that are under way. The first thing that goes wrong, a cancellation among them,
 * stops all of them.
 *
 * Invariant: a piece asks `check` after every wait, so that none touches memory once `settled` has resolved.
 */
export class Flight {
  readonly #pieces: Promise<void>[] = [];
  #failure: { readonly error: unknown } | undefined;

  /** Lets no further piece begin. What was given first is what went wrong. */
  stop(error: unknown): void {
    this.#failure ??= { error };
  }

  /** Throws what went wrong. To ask after every wait, before memory is touched. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** The promise never rejects: failures are found by `check`. */
  add(piece: Promise<void>): Promise<void> {
    const watched = piece.catch((error: unknown) => {
      this.stop(error);
    });
    this.#pieces.push(watched);
    return watched;
  }

  /** Resolves when no piece is under way. To call once nothing is added any more, or after `stop`. */
  async settled(): Promise<void> {
    await Promise.all(this.#pieces);
  }

  /** As `settled`, and rejects with what went wrong. */
  async landed(): Promise<void> {
    await this.settled();
    this.check();
  }
}
