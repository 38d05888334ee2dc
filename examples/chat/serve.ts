/**
 * The decoding loop: continuous batching over a pool that is too small. Every step computes one token of
 * each reply under way and a part of the prompts that wait; when the blocks run out, the youngest reply
 * gives way and comes back later.
 */
import type { KvCacheManager, Step } from '../../src/index.js';
import { MemoryMeter, type MemoryUse } from './meter.js';
import type { Logits, PagedEngine, Pass } from './model/engine.js';
import { longestCase, type PromptSet } from './prompts.js';
import { keyOf } from './random.js';
import { chosenSample, drawNext, nextPrompt, type Reply, type Sampling } from './reply.js';
import { Request, type Turn } from './request.js';
import { UsageError } from './usage.js';

export interface ServeOptions {
  readonly sampling: Sampling;
  /** Query tokens in one step. */
  readonly batchTokens: number;
  /** One step in so many is aborted; 0: none. */
  readonly abortEvery: number;
  /** Overwrites one slot behind the manager's back. */
  readonly corrupt: boolean;
}

/** How things stand, for the live line. */
export interface Progress {
  readonly step: number;
  readonly drawn: number;
  readonly running: number;
  readonly preempted: number;
  readonly waiting: number;
}

export interface Served {
  readonly replies: readonly Reply[];
  readonly memory: MemoryUse;
  readonly steps: number;
}

/** Part of a step: `count` tokens of a request, from `computed` on. */
interface Entry {
  readonly request: Request;
  readonly count: number;
}

/** Steps for which nobody is let in after somebody had to go. */
const calmSteps = 6;
/** Prompts that are computed side by side. */
const prefillsAtOnce = 2;
/** Written into the corrupted slot: far outside of what a model computes. */
const garbage = 3e4;

export class Server {
  readonly #kv: KvCacheManager;
  readonly #engine: PagedEngine;
  readonly #prompts: PromptSet;
  readonly #options: ServeOptions;
  readonly #meter: MemoryMeter;
  #waiting: Turn[];
  /** Oldest first. */
  #running: Request[] = [];
  /** Swapped out or dropped, the one that has waited longest first. */
  #preempted: Request[] = [];
  readonly #finished: Request[] = [];
  #step = 0;
  #drawn = 0;
  #calmUntil = 0;
  #corrupted = false;

  constructor(kv: KvCacheManager, engine: PagedEngine, prompts: PromptSet, options: ServeOptions) {
    this.#kv = kv;
    this.#engine = engine;
    this.#prompts = prompts;
    this.#options = options;
    const { newTokens } = options.sampling;
    const longest = prompts.conversations.map((chat) =>
      longestCase(prompts.system, chat, newTokens),
    );
    this.#meter = new MemoryMeter(kv, longest);
    this.#waiting = prompts.conversations.map((conversation, chat) => ({
      chat,
      turn: 0,
      prompt: Uint32Array.from([...prompts.system, ...conversation.turns[0]!]),
      readyAt: chat,
    }));
  }

  /** Runs every chat to its end. */
  async run(onStep: (progress: Progress) => void): Promise<Served> {
    while (this.#waiting.length + this.#running.length + this.#preempted.length > 0) {
      this.#step++;
      this.#letIn();
      if (this.#running.length > 0) await this.#runStep();
      this.#meter.sample(this.#running, this.#preempted);
      onStep({
        step: this.#step,
        drawn: this.#drawn,
        running: this.#running.length,
        preempted: this.#preempted.length,
        waiting: this.#waiting.length,
      });
    }
    if (this.#options.corrupt && !this.#corrupted) throw new Error('no slot could be corrupted');
    return { replies: this.#finished, memory: this.#meter.use(), steps: this.#step };
  }

  /** The preempted come first, then new turns; nobody while the pool has just run out. */
  #letIn(): void {
    if (this.#step < this.#calmUntil && this.#running.length > 0) return;
    const [oldest] = this.#preempted;
    if (oldest) {
      if (this.#running.length > 0 && !this.#hasRoom(oldest.tokens)) return;
      this.#preempted.shift();
      if (oldest.sequence.state === 'dropped') oldest.resume();
      this.#running.push(oldest);
      return;
    }
    const prefilling = this.#running.filter(({ missing }) => missing > 1).length;
    const next = this.#waiting.findIndex(({ readyAt }) => readyAt <= this.#step);
    if (next < 0 || prefilling >= prefillsAtOnce) return;
    const turn = this.#waiting[next]!;
    if (this.#running.length > 0 && !this.#hasRoom(turn.prompt)) return;
    this.#waiting.splice(next, 1);
    this.#open(turn);
  }

  /** Optimistic on purpose: room for what is there now, none set aside for the replies that grow beside it. */
  #hasRoom(tokens: readonly number[] | Uint32Array): boolean {
    const { device, host } = this.#kv.lookup(tokens);
    const { afterEviction } = this.#kv.admission(tokens);
    return afterEviction >= tokens.length - device - host + this.#kv.layout.blockSize;
  }

  #open(turn: Turn): void {
    const sequence = this.#kv.open(turn.prompt);
    this.#running.push(new Request(turn, 0, sequence, this.#options.sampling.samples - 1));
  }

  async #runStep(): Promise<void> {
    const { step, entries } = await this.#reserve();
    const fault = this.#faultOfThisStep();
    if (fault === 'before execute') {
      step.abort();
      return;
    }
    await this.#engine.cache.execute(step);
    const { pass, drawing } = passOf(step, entries);
    const logits = await this.#engine.forward(pass, step.attention);
    if (fault === 'after execute') {
      step.abort();
      return;
    }
    const slot = this.#slotToCorrupt(step, entries);
    step.commit();
    for (const { request } of entries) request.computed = request.sequence.length;
    if (slot !== undefined) await this.#corrupt(slot);
    this.#drawAll(drawing, logits);
  }

  /** Schedules what fits in a step; preempts until it does. */
  async #reserve(): Promise<{ step: Step; entries: readonly Entry[] }> {
    for (;;) {
      const entries = this.#compose();
      const step = this.#kv.schedule(
        entries.map(({ request, count }) => ({
          sequence: request.sequence,
          tokens: request.tokens.slice(request.computed, request.computed + count),
        })),
      );
      if (step.ok) return { step, entries };
      await this.#makeRoom(step.needed, step.free);
    }
  }

  /** One token of each reply under way; what is left of the budget goes to prompts, oldest first. */
  #compose(): Entry[] {
    const decoding = this.#running.filter(({ missing }) => missing === 1);
    const prefilling = this.#running.filter(({ missing }) => missing > 1);
    let budget = this.#options.batchTokens;
    const entries: Entry[] = [];
    for (const request of [...decoding, ...prefilling]) {
      const count = Math.min(request.missing, budget);
      if (count === 0) break;
      budget -= count;
      entries.push({ request, count });
    }
    return entries;
  }

  async #makeRoom(needed: number, free: number): Promise<void> {
    this.#calmUntil = this.#step + calmSteps;
    const victim = this.#running.length > 1 ? this.#running.pop() : undefined;
    if (victim === undefined) {
      this.#dropPreempted(needed, free);
      return;
    }
    this.#preempted.push(victim);
    if (victim.sequence.state === 'swapped') return; // It was about to come back.
    const transfer = this.#kv.preempt(victim.sequence);
    if (transfer.ok) await this.#engine.cache.execute(transfer);
    else this.#drop(victim);
  }

  /** The last resort when a single sequence does not fit: those swapped out may still hold blocks. */
  #dropPreempted(needed: number, free: number): void {
    const holder = this.#preempted.find(({ sequence }) => sequence.state !== 'dropped');
    if (!holder) {
      throw new UsageError(
        `one sequence alone needs ${needed} blocks, ${free} are free: give more (--device-blocks)`,
      );
    }
    this.#drop(holder);
  }

  #drop(request: Request): void {
    this.#kv.preempt(request.sequence, { mode: 'drop' });
    request.computed = 0;
  }

  /** Aborts are spread evenly, and fall before and after the execution in turns. */
  #faultOfThisStep(): 'before execute' | 'after execute' | undefined {
    const { abortEvery } = this.#options;
    if (abortEvery === 0 || this.#step % abortEvery !== 0) return undefined;
    return (this.#step / abortEvery) % 2 === 0 ? 'before execute' : 'after execute';
  }

  #drawAll(drawing: readonly Request[], logits: Logits): void {
    drawing.forEach((request, row) => {
      const samples = [request, ...this.#fork(request)];
      for (const sample of samples) {
        const next = drawNext(this.#options.sampling, sample, logits, row);
        sample.draws.push(next);
        sample.tokens.push(next.id);
        this.#drawn++;
      }
      for (const sample of samples) {
        if (sample.draws.length === this.#options.sampling.newTokens) this.#finish(sample);
      }
    });
  }

  /** The other samples of a turn, once its prompt is computed: sequences over the same blocks. */
  #fork(request: Request): Request[] {
    const { chat, turn, prompt, unforked } = request;
    request.unforked = 0;
    const forks = Array.from({ length: unforked }, (_, i) => {
      const fork = new Request(
        { chat, turn, prompt, readyAt: 0 },
        i + 1,
        request.sequence.fork(),
        0,
      );
      fork.computed = request.computed;
      return fork;
    });
    const place = this.#running.indexOf(request) + 1;
    this.#running.splice(place, 0, ...forks);
    return forks;
  }

  /** Its blocks stay for the next turn, as long as nobody needs them more. */
  #finish(request: Request): void {
    request.sequence.close();
    this.#running = this.#running.filter((other) => other !== request);
    this.#finished.push(request);
    this.#calmUntil = 0;

    const { samples, seed } = this.#options.sampling;
    const { chat, turn } = request;
    const replies = this.#finished.filter((other) => other.chat === chat && other.turn === turn);
    const text = this.#prompts.conversations[chat]!.turns[turn + 1];
    if (replies.length < samples || !text) return;
    const chosen = replies.find(({ sample }) => sample === chosenSample(turn, samples))!;
    const pause = 4 + (keyOf(seed, chat, turn) % 16);
    const readyAt = this.#step + pause;
    this.#waiting.push({ chat, turn: turn + 1, prompt: nextPrompt(chosen, text), readyAt });
  }

  /** Of the oldest reply, when it has half its tokens to go: the slot of the token computed before this step's. */
  #slotToCorrupt(step: Step, entries: readonly Entry[]): number | undefined {
    if (!this.#options.corrupt || this.#corrupted) return undefined;
    const { newTokens } = this.#options.sampling;
    const index = entries.findIndex(({ request: { missing, draws } }) => {
      return missing === 1 && draws.length > 0 && draws.length <= newTokens / 2;
    });
    if (index < 0) return undefined;
    const { blockSize, maxBlocksPerSequence } = this.#kv.layout;
    const { rows, pastLengths, groups } = step.attention;
    const position = pastLengths[index]! - 1;
    const cell = rows[index]! * maxBlocksPerSequence + Math.floor(position / blockSize);
    return groups[0]!.blockTable[cell]! * blockSize + (position % blockSize);
  }

  async #corrupt(slot: number): Promise<void> {
    await this.#engine.overwriteSlot(slot, garbage);
    this.#corrupted = true;
  }
}

/** The query tokens of a step, and the requests whose last token is among them: each may draw its next. */
function passOf(step: Step, entries: readonly Entry[]): { pass: Pass; drawing: Request[] } {
  const { tokens, skipped, cumulativeLengths } = step.attention;
  const ids = new Uint32Array(tokens);
  const positions = new Uint32Array(tokens);
  const wanted: number[] = [];
  const drawing: Request[] = [];
  entries.forEach(({ request, count }, i) => {
    const first = request.computed + skipped[i]!;
    const end = request.computed + count;
    let row = cumulativeLengths[i]!;
    for (let position = first; position < end; position++, row++) {
      ids[row] = request.tokens[position]!;
      positions[row] = position;
    }
    if (end < request.tokens.length) return;
    wanted.push(row - 1);
    drawing.push(request);
  });
  return { pass: { ids, positions, wanted: Uint32Array.from(wanted) }, drawing };
}
