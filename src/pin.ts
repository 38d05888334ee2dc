/** A pin: what is cached of a prompt, held until it is let go. */
import { Core } from './core.js';
import { invalidReceiver } from './errors.js';
import type { Sequence } from './sequence.js';

export let newPin: (core: Core, held: Sequence, tokens: number) => Pin;

/** Made by `kv.pin()`. Unpin it when done. */
export class Pin {
  /** It holds the prompt, and counts as an open sequence. */
  readonly #held: Sequence;
  readonly #tokens: number;

  static {
    newPin = (core, held, tokens) => new Pin(core, held, tokens);
  }

  private constructor(core: Core, held: Sequence, tokens: number) {
    if (!(core instanceof Core)) throw invalidReceiver('pin');
    this.#held = held;
    this.#tokens = tokens;
  }

  /** Of the prompt, from its start, that were in memory and stay there. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Lets go: it can be evicted again, as just used. Unpinning twice does nothing. */
  unpin(): void {
    this.#held[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.unpin();
  }
}
