/** What both runs produce and what is compared: for every chat, turn and sample the tokens drawn. */
import type { Tokens } from './prompts.js';
import { keyOf } from './random.js';
import { draw, type Draw } from './sampling.js';

export interface Reply {
  readonly chat: number;
  readonly turn: number;
  readonly sample: number;
  /** The whole history, the user's text of this turn included. */
  readonly prompt: Tokens;
  readonly draws: readonly Draw[];
}

/** How tokens are drawn: the same in both runs. */
export interface Sampling {
  readonly seed: number;
  readonly temperature: number;
  readonly vocabulary: number;
  readonly newTokens: number;
  readonly samples: number;
}

/** Draws the next token of a reply from row `row` of a pass's logits. */
export function drawNext(
  sampling: Sampling,
  reply: Reply,
  logits: Float32Array,
  row: number,
): Draw {
  const key = keyOf(sampling.seed, reply.chat, reply.turn, reply.sample);
  const { vocabulary, temperature } = sampling;
  return draw(logits, row, vocabulary, temperature, key, reply.draws.length);
}

/** The sample whose reply the chat goes on with: each in its turn, so that histories leave the first. */
export function chosenSample(turn: number, samples: number): number {
  return turn % samples;
}

/** A chat's next prompt: the history, the reply, the user's next text. */
export function nextPrompt(reply: Reply, userText: Tokens): Tokens {
  const replyTokens = reply.draws.map(({ id }) => id);
  return Uint32Array.from([...reply.prompt, ...replyTokens, ...userText]);
}

/** A reply as text, what cannot be printed shown as a dot. */
export function printable(reply: Reply): string {
  return reply.draws
    .map(({ id }) => (id >= 32 && id < 127 ? String.fromCharCode(id) : '·'))
    .join('');
}
