/** What the caller of `execute` gets: a promise of the end, with the way there. */
import type { Execution } from '../plan.js';

export class Ticket extends Promise<void> implements Execution {
  readonly submitted: Promise<void>;
  readonly #layer: (layer: number) => Promise<void>;
  readonly #cancel: () => void;

  /** What `then` makes of it is no execution. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise;
  }

  constructor(
    ended: Promise<void>,
    submitted: Promise<void>,
    layer: (layer: number) => Promise<void>,
    cancel: () => void,
  ) {
    super((resolve) => {
      resolve(ended);
    });
    this.submitted = submitted;
    this.#layer = layer;
    this.#cancel = cancel;
  }

  layer(layer: number): Promise<void> {
    return this.#layer(layer);
  }

  cancel(): void {
    this.#cancel();
  }
}

/** Of what is over once `ended` settles, and cannot be stopped. */
export function ticketOf(ended: Promise<void>): Ticket {
  const submitted = ended.then(() => undefined);
  // Who waits for the end is told by it.
  submitted.catch(() => undefined);
  return new Ticket(
    ended,
    submitted,
    () => submitted,
    () => undefined,
  );
}
