/**
 * An engine that serves what arrives on a virtual clock, with whatever can go wrong in it: replies that are forked,
 * rewound and given up, who is preempted, swapped out and back, and executions that fail or are cancelled.
 */
import type { KvCacheManager, OutOfBlocks, Transfer } from '../../src/index.js';
import type { Dice } from './dice.js';
import { Disturbances } from './disturbances.js';
import { Request } from './request.js';
import { OpenSteps, type Entry, type StepParts } from './steps.js';
import type { Arrival, Traffic } from './traffic.js';

/** Of a step. */
const BATCH_TOKENS = 512;
/** Replies that are computed side by side, at most. */
const MOST_RUNNING = 16;
const MOST_OPEN = 48;
/** How long nobody does anything where nothing can be done. */
const IDLE_MS = 5;
/** Of a token. */
const FORKS = 0.015;
const REWINDS = 0.02;
const MOST_REWOUND = 6;
/** How often somebody is let in whom the manager would not admit. */
const OPTIMISM = 0.3;
/** Of cycles: that the replies under way are cut into two batches, both open at once. */
const SPLITS = 0.3;

export class Server {
  readonly counts = {
    requests: 0,
    opens: 0,
    forks: 0,
    truncates: 0,
    finished: 0,
    swaps: 0,
    drops: 0,
    prefetches: 0,
  };
  readonly steps: OpenSteps;
  readonly disturbances: Disturbances;
  readonly #parts: StepParts;
  readonly #kv: KvCacheManager;
  readonly #traffic: Traffic;
  #waiting: Arrival[] = [];
  /** Oldest first. */
  #running: Request[] = [];
  #preempted: Request[] = [];
  #next: Arrival | undefined;
  #numbers = 0;

  constructor(parts: StepParts, traffic: Traffic) {
    this.#parts = parts;
    this.#kv = parts.kv;
    this.#traffic = traffic;
    this.steps = new OpenSteps(parts);
    this.disturbances = new Disturbances(parts);
  }

  /** Serves all that arrives before `end_ms`, until every reply has ended and every transfer has landed. */
  async serve(end_ms: number): Promise<void> {
    const { clock, device } = this.#parts;
    this.#next = this.#traffic.next(end_ms);
    for (;;) {
      this.#takeArrivals(end_ms);
      if (this.#isIdle && this.#next === undefined) break;
      if (this.#isIdle) await clock.sleep(this.#next!.at_ms - clock.now_ms);
      else await this.#cycle();
    }
    this.disturbances.end();
    await device.landed();
  }

  get #isIdle(): boolean {
    return this.#waiting.length + this.#running.length + this.#preempted.length === 0;
  }

  #takeArrivals(end_ms: number): void {
    while (this.#next !== undefined && this.#next.at_ms <= this.#parts.clock.now_ms) {
      this.counts.requests += 1;
      this.#waiting.push(this.#next);
      this.#next = this.#traffic.next(end_ms);
    }
  }

  async #cycle(): Promise<void> {
    const before = this.#parts.clock.now_ms;
    this.disturbances.happen([...this.#running, ...this.#preempted]);
    this.#forgetClosed();
    this.#letIn();
    this.#beginSteps();
    await this.steps.end((entry, blockTable) => {
      this.#advance(entry, blockTable);
    });
    this.#forgetClosed();
    if (this.#parts.clock.now_ms === before) await this.#parts.clock.sleep(IDLE_MS);
  }

  /** Clients go whenever they like. */
  #forgetClosed(): void {
    this.#running = this.#running.filter(({ isClosed }) => !isClosed);
    this.#preempted = this.#preempted.filter(({ isClosed }) => !isClosed);
  }

  // --- Who is let in ---

  #letIn(): void {
    if (this.#running.length >= MOST_RUNNING) return;
    const [back] = this.#preempted;
    if (back !== undefined) {
      if (!this.#hasRoom(back.history.tokens, back)) return;
      this.#preempted.shift();
      if (back.sequence.state === 'dropped')
        back.computed = back.sequence.resume(back.history.tokens);
      this.#running.push(back);
      return;
    }
    const [arrival] = this.#waiting;
    if (arrival === undefined || this.#open >= MOST_OPEN) return;
    if (!this.#hasRoom(arrival.prompt, { where: arrival })) return;
    this.#waiting.shift();
    const { prompt, namespace, keys } = arrival;
    const sequence = this.#kv.open(prompt, { namespace, keys });
    this.#parts.digest.add(prompt.length, sequence.cachedTokens);
    this.counts.opens += 1;
    this.#running.push(Request.open(this.#numbers++, arrival, sequence));
  }

  get #open(): number {
    return this.#running.length + this.#preempted.length;
  }

  #hasRoom(
    tokens: Uint32Array | readonly number[],
    { where }: { where: Pick<Arrival, 'namespace' | 'keys'> | Request['where'] },
  ): boolean {
    const { namespace, keys } = where;
    const asked = { ...(namespace === undefined ? {} : { namespace }), ...(keys && { keys }) };
    const { admits, afterEviction } = this.#kv.admission(tokens, asked);
    return (
      this.#running.length === 0 ||
      admits ||
      (this.#parts.dice.chance(OPTIMISM) && afterEviction > 0)
    );
  }

  // --- Steps ---

  #beginSteps(): void {
    const { dice } = this.#parts;
    const half = dice.chance(SPLITS) ? Math.ceil(this.#running.length / 2) : this.#running.length;
    this.#beginStep(this.#running.slice(0, half));
    this.#beginStep(this.#running.slice(half));
    this.#prefetchNext();
  }

  /** Prompts that wait are brought back beside the passes of others. */
  #prefetchNext(): void {
    const [arrival] = this.#waiting;
    if (arrival === undefined || this.#open >= MOST_OPEN || this.steps.isEmpty) return;
    const { prompt, namespace, keys } = arrival;
    if (this.#kv.lookup(prompt, { namespace, keys }).worth === 0) return;
    const step = this.#kv.prefetch(prompt, { namespace, keys });
    if (!step.ok) return;
    this.counts.prefetches += 1;
    this.steps.begin(step, []);
  }

  /** Where not all of them fit, somebody gives way, and one of them goes on alone. */
  #beginStep(requests: readonly Request[]): void {
    const whole = this.#entriesOf(requests);
    if (whole.length === 0) return;
    const missing = this.#schedule(whole);
    if (missing === undefined) return;
    this.#makeRoom(missing);
    for (const entry of whole) {
      const isRunning = this.#running.includes(entry.request);
      if (isRunning && this.#schedule([entry]) === undefined) return;
    }
  }

  #entriesOf(requests: readonly Request[]): Entry[] {
    const entries: Entry[] = [];
    let left = BATCH_TOKENS;
    for (const request of requests) {
      const count = Math.min(left, request.missing);
      if (count > 0) entries.push({ request, count });
      left -= count;
    }
    return entries;
  }

  #schedule(entries: readonly Entry[]): OutOfBlocks | undefined {
    const step = this.#kv.schedule(
      entries.map(({ request, count }) => ({
        sequence: request.sequence,
        tokens: request.next(count),
      })),
    );
    if (!step.ok) return step;
    this.steps.begin(step, entries);
    return undefined;
  }

  // --- Who gives way ---

  #makeRoom({ needed, free, inFlight }: OutOfBlocks): void {
    const { dice, device } = this.#parts;
    if (needed <= free + inFlight && !device.isIdle) return;
    const idle = this.#running.filter((request) => !this.steps.has(request));
    const victim = idle.length > 1 ? this.#victimOf(idle, needed - free) : undefined;
    if (victim !== undefined) this.#preempt(victim, dice.pick(['swap', 'swap', 'auto', 'drop']));
    else if (this.steps.isEmpty && device.isIdle) this.#dropPreempted(needed, free);
  }

  #victimOf(idle: readonly Request[], blocks: number): Request | undefined {
    const { dice } = this.#parts;
    if (dice.chance(0.5)) return idle.at(-1);
    const sequences = idle.map(({ sequence }) => sequence);
    const victim = this.#kv.cheapestToPreempt(sequences, { blocks: Math.max(1, blocks) });
    return idle.find(({ sequence }) => sequence === victim?.sequence) ?? idle.at(-1);
  }

  #preempt(request: Request, mode: 'swap' | 'auto' | 'drop'): void {
    let transfer = this.#kv.preempt(request.sequence, { mode });
    if (!transfer.ok) transfer = this.#kv.preempt(request.sequence, { mode: 'drop' });
    this.#running = this.#running.filter((other) => other !== request);
    this.#preempted.push(request);
    if (request.sequence.state === 'dropped') {
      request.computed = 0;
      this.counts.drops += 1;
    } else {
      this.counts.swaps += 1;
      void this.#parts.device.execute(transfer as Transfer).ended;
    }
  }

  /** The last resort: those swapped out, and pins, may still hold blocks of the device. */
  #dropPreempted(needed: number, free: number): void {
    const holder = this.#preempted.find(({ sequence }) => sequence.state !== 'dropped');
    if (holder !== undefined) {
      this.#kv.preempt(holder.sequence, { mode: 'drop' });
      holder.computed = 0;
      this.counts.drops += 1;
    } else if (!this.disturbances.unpin()) {
      throw new Error(`a reply alone needs ${needed} blocks, and ${free} are free`);
    }
  }

  // --- What comes true ---

  #advance({ request }: Entry, blockTable: Int32Array): void {
    if (request.isClosed) return;
    const { dice } = this.#parts;
    request.computed = request.sequence.length;
    if (request.missing > 0) return;
    if (request.isDone) {
      this.#finish(request, blockTable);
      return;
    }
    request.history.append(newToken(dice));
    if (dice.chance(FORKS) && this.#open < MOST_OPEN) this.#fork(request);
    if (dice.chance(REWINDS)) this.#rewind(request);
  }

  #fork(request: Request): void {
    const { dice } = this.#parts;
    const at = dice.integer(Math.max(0, request.computed - 40), request.computed);
    const fork = request.fork(this.#numbers++, at, newToken(dice));
    this.counts.forks += 1;
    this.#running.push(fork);
  }

  #rewind(request: Request): void {
    const { dice } = this.#parts;
    const to = Math.max(1, request.computed - dice.integer(1, MOST_REWOUND));
    request.sequence.truncate(to);
    request.history.truncate(to);
    request.history.append(newToken(dice));
    request.computed = to;
    this.counts.truncates += 1;
  }

  #finish(request: Request, blockTable: Int32Array): void {
    const { contents, dice } = this.#parts;
    contents.check(request.history, request.computed, request.row!, blockTable);
    request.isClosed = true;
    const reuse = dice.pick([undefined, 'never', 2000] as const);
    request.sequence.close(reuse === undefined ? {} : { reuse });
    this.counts.finished += 1;
    this.disturbances.remember(request);
  }
}

/** One that prompts do not have. */
function newToken(dice: Dice): number {
  return dice.integer(2 ** 28, 2 ** 29);
}
