/** Who arrives when, and what they ask: drawn from a seed, or read from a trace. */
import type { KeyRange } from '../../src/index.js';
import { ChainTokens } from '../../src/cli/replay/tokens.js';
import type { Trace } from '../../src/cli/replay/trace.js';
import { Dice } from './dice.js';

export interface Arrival {
  readonly at_ms: number;
  readonly namespace: string;
  readonly keys: readonly KeyRange[];
  readonly prompt: Uint32Array;
  readonly outputTokens: number;
}

/** In the order of time. */
export interface Traffic {
  /** Undefined where no more come before the end. The prompt is the caller's. */
  next(end_ms: number): Arrival | undefined;
}

const TENANTS = ['', 'b', 'c'];

/** Between arrivals, on average. */
const GAP_MS = 800;
const SESSIONS = 40;
const SYSTEM_TOKENS = 200;
const MOST_TURNS = 12;
const MOST_NEW_TOKENS = 300;
const MOST_OUTPUT_TOKENS = 60;
/** Of the sessions those that have an adapter from somewhere on. */
const KEYED = 0.2;

interface Session {
  readonly namespace: string;
  readonly keys: readonly KeyRange[];
  readonly tokens: number[];
  turnsLeft: number;
}

/** Conversations that go on at random, each below a system prompt that its tenant has. */
export class GeneratedTraffic implements Traffic {
  readonly #dice: Dice;
  readonly #maxTokens: number;
  readonly #sessions: Session[];
  #at_ms = 0;
  #nextToken = SYSTEM_TOKENS;
  #adapters = 0;

  /** `maxTokens`: of a prompt with its output. */
  constructor(seed: number, maxTokens: number) {
    this.#dice = new Dice(seed, 1);
    this.#maxTokens = maxTokens;
    this.#sessions = Array.from({ length: SESSIONS }, () => this.#newSession());
  }

  next(end_ms: number): Arrival | undefined {
    const dice = this.#dice;
    const at_ms = this.#at_ms + dice.interval(GAP_MS);
    if (at_ms >= end_ms) {
      this.#at_ms = end_ms;
      return undefined;
    }
    this.#at_ms = at_ms;
    const place = dice.integer(0, SESSIONS - 1);
    const session = this.#sessions[place]!;
    const { namespace, keys, tokens } = session;
    this.#append(tokens, dice.integer(1, MOST_NEW_TOKENS));
    const prompt = Uint32Array.from(tokens);
    const outputTokens = dice.integer(1, MOST_OUTPUT_TOKENS);
    // What the reply will have been is no part of the history: it is as often edited as it is kept.
    this.#append(tokens, dice.integer(0, MOST_OUTPUT_TOKENS));
    const isFull = tokens.length + MOST_NEW_TOKENS + 2 * MOST_OUTPUT_TOKENS > this.#maxTokens;
    if (--session.turnsLeft <= 0 || isFull) this.#sessions[place] = this.#newSession();
    return { at_ms, namespace, keys, prompt, outputTokens };
  }

  #newSession(): Session {
    const dice = this.#dice;
    // Where no two are alike: which of two keys stands before the other depends on the manager's own seed.
    const from = SYSTEM_TOKENS + dice.integer(0, MOST_NEW_TOKENS);
    return {
      namespace: dice.pick(TENANTS),
      keys: dice.chance(KEYED) ? [{ from, key: `adapter ${this.#adapters++}` }] : [],
      tokens: Array.from({ length: SYSTEM_TOKENS }, (_, i) => i),
      turnsLeft: dice.integer(1, MOST_TURNS),
    };
  }

  #append(tokens: number[], count: number): void {
    for (let i = 0; i < count; i++) tokens.push(this.#nextToken++);
    // Long before ids run out, what had them is forgotten.
    if (this.#nextToken > 2 ** 31) this.#nextToken = SYSTEM_TOKENS;
  }
}

/** A trace over and over, each prompt cut to what fits. */
export class TraceTraffic implements Traffic {
  readonly #trace: Trace;
  readonly #maxTokens: number;
  readonly #tokens: ChainTokens;
  readonly #outputs: Dice;
  #request = 0;
  /** When the trace began, this time. */
  #begin_ms = 0;

  constructor(trace: Trace, seed: number, maxTokens: number) {
    this.#trace = trace;
    this.#maxTokens = maxTokens;
    this.#outputs = new Dice(seed, 1);
    this.#tokens = new ChainTokens(trace.blockSize, Math.ceil(maxTokens / trace.blockSize));
  }

  next(end_ms: number): Arrival | undefined {
    const { requests, blockSize } = this.#trace;
    const last_ms = requests.times_ms[requests.count - 1]! + GAP_MS;
    if (this.#request === requests.count) {
      this.#request = 0;
      this.#begin_ms += last_ms;
    }
    const request = this.#request;
    const at_ms = this.#begin_ms + requests.times_ms[request]!;
    if (at_ms >= end_ms) return undefined;
    this.#request += 1;
    const outputTokens = this.#outputs.integer(1, MOST_OUTPUT_TOKENS);
    const most = this.#maxTokens - MOST_OUTPUT_TOKENS;
    const wanted = Math.max(1, Math.min(requests.inputTokens[request]!, most));
    const blocks = Math.min(Math.ceil(wanted / blockSize), requests.inputBlocks[request]!);
    this.#tokens.write(requests, request, 0, blocks);
    const length = Math.min(wanted, blocks * blockSize + 1);
    const prompt = this.#tokens.prompt(blocks).slice(0, length);
    return { at_ms, namespace: '', keys: [], prompt, outputTokens };
  }
}
