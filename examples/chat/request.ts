/** One reply being made: its tokens, its sequence, how far the passes have come. */
import type { Sequence } from '../../src/index.js';
import type { Tokens } from './prompts.js';
import type { Reply } from './reply.js';
import type { Draw } from './sampling.js';

/** A turn that waits for its first pass. */
export interface Turn {
  readonly chat: number;
  readonly turn: number;
  /** The whole history, the user's text included. */
  readonly prompt: Tokens;
  /** The step from which on it is there: users take their time. */
  readonly readyAt: number;
}

export class Request implements Reply {
  readonly chat: number;
  readonly turn: number;
  readonly prompt: Tokens;
  readonly draws: Draw[] = [];
  /** Prompt and tokens drawn; the last one drawn is yet to be computed. */
  readonly tokens: number[];
  /** Tokens whose keys and values are in memory, as of the last commit. */
  computed: number;

  /** `unforked`: samples to fork from this one once its prompt is computed. */
  constructor(
    turn: Turn,
    readonly sample: number,
    readonly sequence: Sequence,
    public unforked: number,
  ) {
    this.chat = turn.chat;
    this.turn = turn.turn;
    this.prompt = turn.prompt;
    this.tokens = [...turn.prompt];
    this.computed = sequence.cachedTokens;
  }

  /** Tokens that the next passes have to compute; at least one. */
  get missing(): number {
    return this.tokens.length - this.computed;
  }

  /** A dropped sequence starts over, from what is still found in memory. */
  resume(): void {
    this.computed = this.sequence.resume(this.tokens);
  }
}
