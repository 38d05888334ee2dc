/**
 * The same chats once more, without the manager: one contiguous cache for every sample of every chat, a
 * kernel that knows no block table, every token generated anew; then the comparison.
 */
import type { ContiguousEngine, EngineLimits } from './model/engine.js';
import { type Conversation, type PromptSet, type Tokens } from './prompts.js';
import { chosenSample, drawNext, nextPrompt, type Reply, type Sampling } from './reply.js';
import type { Draw } from './sampling.js';

/** One sample of one chat, with a cache of its own for as long as the chat lives. */
interface Lane {
  readonly index: number;
  /** Tokens whose keys and values lie in the lane. */
  cached: Tokens;
  reply: Reply & { readonly draws: Draw[] };
  /** Prompt and tokens drawn. */
  tokens: number[];
}

export interface ContiguousRun {
  readonly engine: ContiguousEngine;
  readonly limits: EngineLimits;
  /** Lanes that the engine has memory for. */
  readonly lanes: number;
}

/** Generates every reply over contiguous caches; `onToken` is called with the tokens drawn so far. */
export async function generateContiguous(
  prompts: PromptSet,
  sampling: Sampling,
  run: ContiguousRun,
  onToken: (tokens: number) => void,
): Promise<Reply[]> {
  const chatsAtOnce = Math.max(1, Math.floor(run.lanes / sampling.samples));
  const replies: Reply[] = [];
  let drawn = 0;
  for (let first = 0; first < prompts.conversations.length; first += chatsAtOnce) {
    const chats = prompts.conversations.slice(first, first + chatsAtOnce);
    const group = await generateGroup(prompts.system, chats, first, sampling, run, (tokens) => {
      drawn += tokens;
      onToken(drawn);
    });
    replies.push(...group);
  }
  return replies;
}

async function generateGroup(
  system: Tokens,
  chats: readonly Conversation[],
  firstChat: number,
  sampling: Sampling,
  run: ContiguousRun,
  onTokens: (tokens: number) => void,
): Promise<Reply[]> {
  const replies: Reply[] = [];
  let lanes: Lane[] = [];
  const turns = chats[0]!.turns.length;
  for (let turn = 0; turn < turns; turn++) {
    const before = lanes;
    lanes = chats.flatMap((chat, i) => {
      const chosen = before[i * sampling.samples + chosenSample(turn - 1, sampling.samples)];
      const text = chat.turns[turn]!;
      const prompt = chosen
        ? nextPrompt(chosen.reply, text)
        : Uint32Array.from([...system, ...text]);
      return Array.from({ length: sampling.samples }, (_, sample): Lane => {
        const index = i * sampling.samples + sample;
        return {
          index,
          cached: before[index]?.cached ?? new Uint32Array(),
          reply: { chat: firstChat + i, turn, sample, prompt, draws: [] },
          tokens: [...prompt],
        };
      });
    });
    await generateTurn(lanes, sampling, run, onTokens);
    replies.push(...lanes.map(({ reply }) => reply));
  }
  return replies;
}

/** Prefills every lane's prompt, then draws all lanes in step. */
async function generateTurn(
  lanes: readonly Lane[],
  sampling: Sampling,
  run: ContiguousRun,
  onTokens: (tokens: number) => void,
): Promise<void> {
  const computed = lanes.map((lane) => commonPrefix(lane.cached, lane.tokens));
  for (;;) {
    const ready = await computePass(lanes, computed, sampling.newTokens, run);
    if (ready === undefined) break;
    ready.lanes.forEach((lane, row) => {
      const next = drawNext(sampling, lane.reply, ready.logits, row);
      lane.reply.draws.push(next);
      lane.tokens.push(next.id);
    });
    onTokens(ready.lanes.length);
  }
  lanes.forEach((lane, i) => {
    lane.cached = Uint32Array.from(lane.tokens.slice(0, computed[i]));
  });
}

/** Tokens at the start of a prompt that the lane holds already; the last is computed again for its logits. */
function commonPrefix(cached: Tokens, tokens: readonly number[]): number {
  let length = 0;
  while (
    length < cached.length &&
    length < tokens.length - 1 &&
    cached[length] === tokens[length]
  ) {
    length++;
  }
  return length;
}

/** One pass over as many uncomputed tokens as fit; undefined when no lane has any left. */
async function computePass(
  lanes: readonly Lane[],
  computed: number[],
  newTokens: number,
  { engine, limits }: ContiguousRun,
): Promise<{ lanes: Lane[]; logits: Float32Array } | undefined> {
  const ids: number[] = [];
  const positions: number[] = [];
  const owners: number[] = [];
  const wanted: number[] = [];
  const ready: Lane[] = [];
  lanes.forEach((lane, i) => {
    if (lane.reply.draws.length === newTokens) return;
    const start = computed[i]!;
    const end = Math.min(lane.tokens.length, start + limits.passTokens - ids.length);
    for (let position = start; position < end; position++) {
      ids.push(lane.tokens[position]!);
      positions.push(position);
      owners.push(lane.index);
    }
    computed[i] = end;
    if (end === start || end < lane.tokens.length) return;
    wanted.push(ids.length - 1);
    ready.push(lane);
  });
  if (ids.length === 0) return undefined;
  const pass = {
    ids: Uint32Array.from(ids),
    positions: Uint32Array.from(positions),
    wanted: Uint32Array.from(wanted),
  };
  return { lanes: ready, logits: await engine.forward(pass, Uint32Array.from(owners)) };
}

export interface Difference {
  readonly chat: number;
  readonly turn: number;
  readonly sample: number;
  /** The place in the reply. */
  readonly place: number;
  readonly paged: Draw;
  readonly contiguous: Draw;
}

export interface Comparison {
  readonly tokens: number;
  readonly differentTokens: number;
  /** The first of every chat that has any: the ones after it may be its consequences. */
  readonly differences: readonly Difference[];
  /** Largest distance between the logits that one token was drawn with, over the tokens that are equal. */
  readonly logitDistance: number;
  /** Smallest margin by which a token was drawn. */
  readonly leastMargin: number;
}

/** Compares every token of two runs. A reply that only one of them has is an error. */
export function compare(paged: readonly Reply[], contiguous: readonly Reply[]): Comparison {
  const name = ({ chat, turn, sample }: Reply): string => `${chat}/${turn}/${sample}`;
  const others = new Map(contiguous.map((reply) => [name(reply), reply]));
  if (paged.length !== others.size) {
    throw new Error(`${paged.length} paged replies, ${others.size} contiguous ones`);
  }
  const differences = new Map<number, Difference>();
  let tokens = 0;
  let differentTokens = 0;
  let logitDistance = 0;
  let leastMargin = Infinity;
  for (const reply of [...paged].sort(inOrder)) {
    const other = others.get(name(reply));
    if (other?.draws.length !== reply.draws.length) {
      throw new Error(`reply ${name(reply)} is not as long in both runs`);
    }
    reply.draws.forEach((drawn, place) => {
      const again = other.draws[place]!;
      tokens++;
      leastMargin = Math.min(leastMargin, again.margin);
      if (drawn.id === again.id) {
        logitDistance = Math.max(logitDistance, Math.abs(drawn.logit - again.logit));
        return;
      }
      differentTokens++;
      const { chat, turn, sample } = reply;
      if (differences.has(chat)) return;
      differences.set(chat, { chat, turn, sample, place, paged: drawn, contiguous: again });
    });
  }
  return {
    tokens,
    differentTokens,
    differences: [...differences.values()],
    logitDistance,
    leastMargin,
  };
}

function inOrder(a: Reply, b: Reply): number {
  return a.chat - b.chat || a.turn - b.turn || a.sample - b.sample;
}
