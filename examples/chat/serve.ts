/**
 * The decoding loop: continuous batching over a pool that is too small. Every step computes one token of
 * each reply under way and a part of the prompts that wait; when the blocks run out, the youngest reply
 * gives way and comes back later. What moves between the tiers meanwhile moves beside the passes.
 */
import type { KvCacheManager, Step } from '../../src/index.js';
import { passOf, promptOf, type Entry } from './batch.js';
import { Crowd } from './crowd.js';
import { abortOf } from './faults.js';
import { Flights, type Flight, type TransferUse } from './flights.js';
import { MemoryMeter, type MemoryUse } from './meter.js';
import type { Logits, PagedEngine, Pass } from './model/engine.js';
import { longestCase, type PromptSet, type Tokens } from './prompts.js';
import { keyOf } from './random.js';
import { chosenSample, drawNext, nextPrompt, type Reply, type Sampling } from './reply.js';
import { Request, type Turn } from './request.js';

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
  readonly transfers: TransferUse;
  readonly steps: number;
  /** Steps whose execution failed. */
  readonly failedSteps: number;
}

/** Somebody who may have blocks of the device again, or for the first time. */
interface Arrival {
  /** As far as they are known to be in memory. */
  readonly tokens: Tokens | readonly number[];
  readonly admit: () => void;
}

/** Blocks on their way from the host, for a step to come. */
interface Prefetch {
  readonly step: Step;
  readonly flight: Flight;
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
  readonly #flights: Flights;
  readonly #crowd: Crowd;
  #waiting: Turn[];
  readonly #finished: Request[] = [];
  #step = 0;
  #drawn = 0;
  #failedSteps = 0;
  #calmUntil = 0;
  #corrupted = false;

  constructor(kv: KvCacheManager, engine: PagedEngine, prompts: PromptSet, options: ServeOptions) {
    this.#kv = kv;
    this.#engine = engine;
    this.#prompts = prompts;
    this.#options = options;
    this.#flights = new Flights(engine.cache);
    this.#crowd = new Crowd(kv, this.#flights, options.batchTokens);
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
    const crowd = this.#crowd;
    while (this.#waiting.length + crowd.running.length + crowd.preempted.length > 0) {
      this.#step++;
      await this.#round();
      this.#meter.sample(crowd.running, crowd.preempted);
      onStep({
        step: this.#step,
        drawn: this.#drawn,
        running: crowd.running.length,
        preempted: crowd.preempted.length,
        waiting: this.#waiting.length,
      });
    }
    await this.#flights.landed();
    if (this.#options.corrupt && !this.#corrupted) throw new Error('no slot could be corrupted');
    return {
      replies: this.#finished,
      memory: this.#meter.use(),
      transfers: this.#flights.use,
      steps: this.#step,
      failedSteps: this.#failedSteps,
    };
  }

  async #round(): Promise<void> {
    const crowd = this.#crowd;
    const arrival = this.#nextArrival();
    const isOnHost = arrival !== undefined && this.#kv.lookup(arrival.tokens).worth > 0;
    const comesBeside = isOnHost && crowd.running.length > 0;
    if (!comesBeside) arrival?.admit();
    if (crowd.running.length > 0) await this.#runStep(comesBeside ? arrival : undefined);
    else await this.#flights.landing();
  }

  /** The preempted come first, then new turns; nobody while the pool has just run out. */
  #nextArrival(): Arrival | undefined {
    const crowd = this.#crowd;
    const isAlone = crowd.running.length === 0;
    if (this.#step < this.#calmUntil && !isAlone) return undefined;
    if (crowd.preempted.length > 0) {
      const request = crowd.next;
      if (request === undefined || !(isAlone || crowd.hasRoom(request.tokens))) return undefined;
      const admit = (): void => {
        crowd.bringBack(request);
      };
      return { tokens: request.tokens, admit };
    }
    const turn = this.#waiting.find(({ readyAt }) => readyAt <= this.#step);
    const prefilling = crowd.running.filter(({ missing }) => missing > 1).length;
    if (turn === undefined || prefilling >= prefillsAtOnce) return undefined;
    if (!isAlone && !crowd.hasRoom(turn.prompt)) return undefined;
    const admit = (): void => {
      this.#open(turn);
    };
    return { tokens: turn.prompt, admit };
  }

  #open(turn: Turn): void {
    this.#waiting = this.#waiting.filter((other) => other !== turn);
    const sequence = this.#kv.open(turn.prompt);
    const unforked = this.#options.sampling.samples - 1;
    this.#crowd.running.push(new Request(turn, 0, sequence, unforked));
  }

  /** `arrival`: whose blocks come from the host meanwhile. */
  async #runStep(arrival?: Arrival): Promise<void> {
    const { step, entries } = await this.#crowd.reserve();
    if (this.#crowd.takePressure()) this.#calmUntil = this.#step + calmSteps;
    const fault = abortOf(this.#step, this.#options.abortEvery);
    if (fault === 'before execute') {
      step.abort();
      return;
    }
    const flight = this.#flights.start(step);
    const prefetch = arrival && this.#prefetch(arrival);
    const { pass, drawing } = passOf(step, entries);
    // What leaves the device lands beside the pass; what the pass reads has come.
    const isReady = await flight.submitted;
    const logits = isReady ? await this.#compute(pass, step, entries) : undefined;
    const [hasEnded] = await Promise.all([flight.ended, prefetch?.flight.ended]);
    if (!hasEnded) this.#failedSteps++;
    if (logits && hasEnded && fault === undefined) {
      await this.#commit(step, entries, drawing, logits);
      if (prefetch && (await prefetch.flight.ended)) prefetch.step.commit();
      else prefetch?.step.abort();
    } else {
      // The later one first, as it may build on the other. What it has brought stays.
      prefetch?.step.abort();
      step.abort();
    }
    // Where its prefetch failed, its blocks are still on the host, and come with its own step.
    if (prefetch) arrival.admit();
  }

  async #compute(pass: Pass, step: Step, entries: readonly Entry[]): Promise<Logits> {
    const { result, seconds } = await this.#flights.pass(() =>
      this.#engine.forward(pass, step.attention),
    );
    // Of this, and of what its transfers take, the manager learns when bringing back beats computing.
    const prompt = promptOf(entries);
    if (prompt) this.#kv.reportPrefill({ ...prompt, milliseconds: seconds * 1000 });
    return result;
  }

  async #commit(
    step: Step,
    entries: readonly Entry[],
    drawing: readonly Request[],
    logits: Logits,
  ): Promise<void> {
    const slot = this.#slotToCorrupt(step, entries);
    step.commit();
    for (const { request } of entries) request.computed = request.sequence.length;
    if (slot !== undefined) await this.#corrupt(slot);
    this.#drawAll(drawing, logits);
  }

  /** Undefined where there is no room just now. */
  #prefetch(arrival: Arrival): Prefetch | undefined {
    if (this.#step < this.#calmUntil) return undefined;
    const step = this.#kv.prefetch(arrival.tokens);
    return step.ok ? { step, flight: this.#flights.start(step) } : undefined;
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
    const { running } = this.#crowd;
    running.splice(running.indexOf(request) + 1, 0, ...forks);
    return forks;
  }

  /** Its blocks stay for the next turn, as long as nobody needs them more. */
  #finish(request: Request): void {
    request.sequence.close();
    this.#crowd.running = this.#crowd.running.filter((other) => other !== request);
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
