/**
 * Random programs of every operation over small configurations, with the payload oracle after each operation.
 * The seed is printed on failure and taken back from PAGEDKV_SEED; PAGEDKV_OPS says how many operations to do
 * in all, and PAGEDKV_FIRST which program to begin with.
 */
import {
  KvCacheManager,
  PagedKvError,
  type PromptOptions,
  type Reuse,
  type TierQuota,
} from '../src/index.js';
import { Random, seed } from './device.random.js';
import type { OracleMemory } from './oracle.memory.js';
import { Oracle } from './oracle.js';
import {
  oneIn,
  RandomPrompts,
  randomLayout,
  randomLimits,
  type ProgramOptions,
} from './oracle.random.js';
import type { Moving, Planned, Tracked, Wanted } from './oracle.state.js';

/** For tests that take as long as PAGEDKV_OPS says. */
export const UNTIMED = { timeout: 0 };

const OPERATIONS_EACH = 200;
/** Of the log, printed on failure. */
const LINES = 30;
const NAMESPACES = ['', 'b', 'c'];

/** How often, before a program scales each; those that a program can do without are left out by some. */
const WEIGHTS = {
  open: 8,
  schedule: 16,
  execute: 14,
  commit: 16,
  accept: 6,
  abort: 2,
  fork: 4,
  truncate: 4,
  close: 4,
  swap: 4,
  drop: 2,
  resume: 3,
  transfer: 6,
  clear: 1,
  retain: 3,
  time: 2,
  demote: 2,
  prefetch: 3,
  quota: 1,
  cancel: 1,
  report: 3,
  victim: 1,
} as const;

const REFUSALS: readonly string[] = ['QUOTA_IN_USE', 'QUOTA_TOO_LARGE'];

function isRefusedQuota(error: unknown): boolean {
  return error instanceof PagedKvError && REFUSALS.includes(error.code);
}

type Operation = keyof typeof WEIGHTS;
const NEEDED: readonly Operation[] = ['open', 'schedule', 'execute', 'commit', 'abort', 'close'];

export type MakeMemory = (kv: KvCacheManager) => Promise<OracleMemory>;

/** `name` tells the streams of random numbers apart; programs take `layouts` layouts of memory in turns. */
export async function runPrograms(
  name: string,
  operations: number,
  make: MakeMemory,
  layouts = Infinity,
): Promise<void> {
  const total = Number(process.env.PAGEDKV_OPS ?? operations);
  const first = Number(process.env.PAGEDKV_FIRST ?? 0);
  for (let i = first; i * OPERATIONS_EACH < total; i++) {
    const random = new Random(`${name} ${i}`);
    const layout = randomLayout(new Random(`${name} layout ${i % layouts}`));
    const options = { ...layout, ...randomLimits(random, layout) };
    const clock = { now_ms: 0 };
    const kv = new KvCacheManager({ ...options, clock: () => clock.now_ms });
    using oracle = await Oracle.create(kv, await make(kv));
    const program = new Program(random, options, oracle, clock);
    try {
      await program.run();
    } catch (error) {
      const lines = [JSON.stringify(options), ...program.log.slice(-LINES)].join('\n  ');
      const replay = `PAGEDKV_SEED=${seed} PAGEDKV_FIRST=${i}`;
      throw new Error(`${replay}, operation ${program.log.length}: ${String(error)}\n  ${lines}`, {
        cause: error,
      });
    }
  }
}

class Program {
  readonly log: string[] = [];
  readonly #random: Random;
  readonly #options: ProgramOptions;
  readonly #oracle: Oracle;
  readonly #clock: { now_ms: number };
  readonly #weights: readonly (readonly [Operation, number])[];
  readonly #hasFailures: boolean;
  readonly #hasCounts: boolean;
  readonly #hasProbes: boolean;
  readonly #hasKeys: boolean;
  readonly #prompts: RandomPrompts;
  /** What a sequence is to compute, as far as it is known. */
  readonly #plans = new Map<Tracked, readonly number[]>();

  constructor(random: Random, options: ProgramOptions, oracle: Oracle, clock: { now_ms: number }) {
    this.#clock = clock;
    this.#random = random;
    this.#options = options;
    this.#oracle = oracle;
    this.#weights = (Object.keys(WEIGHTS) as Operation[])
      .filter((operation) => NEEDED.includes(operation) || !this.#oneIn(4))
      .map((operation) => [operation, WEIGHTS[operation] * random.integer(1, 3)] as const);
    this.#hasFailures = this.#oneIn(2);
    this.#hasCounts = this.#oneIn(2);
    this.#hasProbes = this.#oneIn(2);
    this.#hasKeys = this.#oneIn(2);
    this.#prompts = new RandomPrompts(random, options);
  }

  async run(): Promise<void> {
    const { faults } = this.#oracle.memory;
    if (faults !== undefined && this.#hasFailures) faults.random = this.#random.fork('faults');
    // Those that are not possible as things stand do not count.
    while (this.log.length < OPERATIONS_EACH) {
      await this.#do(this.#pickOperation());
      await this.#oracle.check();
    }
    await this.#finish();
    if (faults !== undefined) faults.random = undefined;
  }

  async #do(operation: Operation): Promise<void> {
    switch (operation) {
      case 'open':
        this.#open();
        break;
      case 'schedule':
        this.#schedule();
        break;
      case 'execute':
        await this.#execute();
        break;
      case 'commit':
        await this.#commit();
        break;
      case 'accept':
        this.#accept();
        break;
      case 'abort':
        await this.#abort();
        break;
      case 'transfer':
        await this.#transfer();
        break;
      case 'clear':
        this.#clear();
        break;
      case 'retain':
        this.#retain();
        break;
      case 'time':
        this.#clock.now_ms += this.#random.integer(0, this.#oneIn(4) ? 2000 : 20);
        this.#log(`time ${this.#clock.now_ms}`);
        this.#oracle.tell(() => undefined);
        break;
      case 'demote':
        this.#demote();
        break;
      case 'prefetch':
        this.#prefetch();
        break;
      case 'quota':
        this.#quota();
        break;
      case 'cancel':
        this.#cancel();
        break;
      case 'report':
        this.#report();
        break;
      case 'victim':
        this.#victim();
        break;
      default:
        this.#change(operation);
    }
  }

  /** Operations on a sequence. */
  #change(operation: 'fork' | 'truncate' | 'close' | 'swap' | 'drop' | 'resume'): void {
    const sequence = this.#pick(this.#oracle.sequences);
    if (sequence === undefined) return;
    const isDropped = sequence.handle.state === 'dropped';
    if (operation === 'close') {
      const reuse = this.#oneIn(3) ? this.#reuse() : undefined;
      this.#log(`close ${sequence.number}, reuse ${reuse}`);
      this.#oracle.close(sequence, reuse);
    } else if (operation === 'resume' && isDropped) {
      this.#resume(sequence);
    } else if (operation === 'fork' && !isDropped && this.#hasRoom()) {
      this.#fork(sequence);
    } else if (operation !== 'resume' && !isDropped && !this.#oracle.isInStep(sequence)) {
      this.#shrink(operation, sequence);
    }
  }

  #shrink(operation: 'fork' | 'truncate' | 'swap' | 'drop', sequence: Tracked): void {
    const length = sequence.tokens.length;
    if (operation === 'truncate') {
      const few = Math.min(length, this.#random.integer(0, 3));
      const to = this.#oneIn(2) ? length - few : this.#random.integer(0, length);
      this.#log(`truncate ${sequence.number} from ${length} to ${to}`);
      this.#oracle.truncate(sequence, to);
    } else if (operation === 'drop') {
      this.#log(`drop ${sequence.number}`);
      this.#plans.set(sequence, [...sequence.tokens, ...this.#prompts.tokens(1)]);
      this.#oracle.drop(sequence);
    } else if (operation === 'swap') {
      this.#swapOut(sequence, this.#oneIn(3) ? 'auto' : 'swap');
    }
  }

  #swapOut(sequence: Tracked, mode: 'swap' | 'auto'): void {
    const plan = [...sequence.tokens, ...this.#prompts.tokens(1)];
    const transfer = this.#oracle.swapOut(sequence, mode);
    const moves = transfer === undefined ? 'does not fit' : `moves ${transfer.handle.blocks}`;
    this.#log(`swap out ${sequence.number} (${mode}): ${sequence.handle.state}, ${moves}`);
    if (sequence.handle.state === 'dropped') this.#plans.set(sequence, plan);
  }

  /** Of any size, so that both choices come up. */
  #report(): void {
    const { kv } = this.#oracle;
    const size = this.#random.integer(1, 20);
    const milliseconds = (size * this.#random.integer(1, 100)) / 10;
    this.#log(`report ${size} in ${milliseconds} ms`);
    this.#oracle.tell(() => {
      if (this.#oneIn(2)) {
        kv.reportPrefill({ tokens: size, past: this.#random.integer(0, 50), milliseconds });
      } else {
        const direction = this.#random.pick(['offload', 'onboard'] as const);
        kv.reportTransfer({ direction, blocks: size, milliseconds });
      }
    });
  }

  /** As an engine does that must make room. */
  #victim(): void {
    const { kv, sequences } = this.#oracle;
    const blocks = this.#random.integer(0, 6);
    const handles = sequences.map(({ handle }) => handle);
    const victim = kv.cheapestToPreempt(handles, { blocks });
    this.#log(`victim for ${blocks}: ${victim?.mode ?? 'none'}`);
    if (victim === undefined) return;
    const sequence = sequences.find(({ handle }) => handle === victim.sequence)!;
    this.#swapOut(sequence, 'auto');
    if (sequence.handle.state === (victim.mode === 'swap' ? 'swapped' : 'dropped')) return;
    throw new Error(`preempted otherwise than told: ${victim.mode}, ${sequence.handle.state}`);
  }

  #open(): void {
    if (!this.#hasRoom()) return;
    const prompt = this.#prompts.next();
    const namespace = this.#oneIn(3) ? this.#random.pick(NAMESPACES) : '';
    const keys = this.#hasKeys ? this.#prompts.nextKeys() : [];
    const sequence = this.#oracle.open(prompt, namespace, keys);
    this.#log(
      `open ${sequence.number} in '${namespace}' under ${JSON.stringify(keys)}: ${prompt.join(' ')}, ` +
        `cached ${sequence.tokens.length}`,
    );
    this.#plans.set(sequence, prompt);
    this.#probe(sequence);
  }

  #where(): PromptOptions {
    const keys = this.#hasKeys ? this.#prompts.nextKeys() : [];
    return { namespace: this.#random.pick(NAMESPACES), keys };
  }

  #fork(parent: Tracked): void {
    const at = this.#random.integer(0, parent.tokens.length);
    const sequence = this.#oracle.fork(parent, at);
    this.#log(`fork ${parent.number} at ${at} into ${sequence.number}`);
    this.#plans.set(sequence, this.#plans.get(parent)!);
    this.#probe(sequence);
  }

  #resume(sequence: Tracked): void {
    const prompt = this.#oneIn(2) ? this.#plans.get(sequence)! : this.#prompts.next();
    if (prompt.length > this.#options.maxSequenceTokens) return;
    const keys = this.#hasKeys && this.#oneIn(2) ? this.#prompts.nextKeys() : undefined;
    this.#oracle.resume(sequence, prompt, keys);
    this.#log(
      `resume ${sequence.number} under ${JSON.stringify(keys ?? 'its keys')}: ${prompt.join(' ')}, ` +
        `cached ${sequence.tokens.length}`,
    );
    this.#plans.set(sequence, prompt);
  }

  #probe(sequence: Tracked): void {
    const isFull = this.#oracle.steps.length === this.#options.maxOpenSteps;
    const isLong = sequence.tokens.length === this.#options.maxSequenceTokens;
    if (!this.#hasProbes || isFull || isLong) return;
    this.#oracle.probe(sequence);
  }

  #schedule(): Planned | undefined {
    const { maxBatchSequences, maxBatchTokens, maxOpenSteps } = this.#options;
    if (this.#oracle.steps.length === maxOpenSteps) return undefined;
    const wanted: Wanted[] = [];
    let room = maxBatchTokens;
    const most = this.#random.integer(1, maxBatchSequences);
    for (const sequence of this.#random.shuffle([...this.#oracle.sequences])) {
      if (wanted.length === most || sequence.handle.state === 'dropped') continue;
      const tokens = this.#nextTokens(sequence).slice(0, room);
      if (tokens.length === 0) continue;
      room -= tokens.length;
      const byCount = this.#hasCounts && this.#oneIn(3);
      wanted.push({ sequence, tokens, byCount, guesses: this.#oneIn(4) });
    }
    if (wanted.length === 0) return undefined;
    const step = this.#oracle.schedule(wanted);
    const batch = wanted.map(
      ({ sequence, tokens, byCount, guesses }) =>
        `{${sequence.number}${byCount ? ' by count' : ''}${guesses ? ' guesses' : ''}: ${tokens.join(' ')}}`,
    );
    this.#log(`schedule ${batch.join(' ')}: ${describe(step)}`);
    if (step === undefined && this.#oneIn(2)) this.#makeRoom();
    return step;
  }

  /** As an engine does that cannot go on. */
  #makeRoom(): void {
    const idle = this.#oracle.sequences.filter((each) => !this.#oracle.isInStep(each));
    const sequence = this.#pick(idle.filter(({ handle }) => handle.state === 'active'));
    if (sequence === undefined) return;
    this.#shrink(this.#random.pick(['swap', 'swap', 'drop', 'truncate']), sequence);
  }

  /** The prompt's rest, as far as it is still the prompt; else something new. */
  #nextTokens(sequence: Tracked): readonly number[] {
    const base = sequence.tokens.length + this.#oracle.pendingTokens(sequence);
    const rest = this.#plans.get(sequence)!.slice(base);
    const isNew = rest.length === 0 || this.#oneIn(10);
    let tokens = isNew ? this.#prompts.tokens(this.#random.integer(1, 3)) : rest;
    if (this.#oneIn(4)) tokens = tokens.slice(0, this.#random.integer(1, tokens.length));
    if (this.#oneIn(8)) tokens = [...tokens, ...this.#prompts.tokens(this.#options.blockSize)];
    return tokens.slice(0, this.#options.maxSequenceTokens - base);
  }

  async #execute(): Promise<void> {
    const [step, next] = this.#oracle.steps.filter(({ stage }) => stage === 'scheduled');
    if (step === undefined) return;
    // A step cannot be executed on top of one that failed.
    if (this.#oracle.steps.some(({ stage }) => stage === 'failed')) return;
    if (this.#hasFailures && this.#oneIn(6)) {
      this.#log(`execute ${step.number} fails`);
      await this.#oracle.failToExecute(step);
      return;
    }
    const schedulesAhead = this.#oneIn(4);
    const isCancelled = this.#hasFailures && this.#oneIn(10);
    const staysUnderWay = this.#oneIn(2);
    const prefetch = next?.entries.length === 0 && this.#oneIn(2) ? next : undefined;
    const beside = prefetch === undefined ? '' : `, and prefetch ${prefetch.number} beside it`;
    const how = `${beside}${isCancelled ? ', cancelled' : ''}${schedulesAhead ? ', and meanwhile' : ''}`;
    this.#log(`execute ${step.number}${staysUnderWay ? ', left under way' : ''}${how}`);
    const meanwhile = (): void => {
      if (schedulesAhead) this.#schedule();
    };
    await this.#oracle.execute(step, { meanwhile, prefetch, isCancelled, staysUnderWay });
  }

  async #commit(): Promise<void> {
    const step = this.#oracle.steps[0];
    if (step?.stage === 'landing') await this.#oracle.underWay.settle();
    if (step?.stage !== 'executed') return;
    this.#log(`commit ${step.number}`);
    this.#oracle.commit(step);
  }

  #accept(): void {
    const step = this.#pick(this.#oracle.steps.filter(({ stage }) => stage === 'executed'));
    const entry = step && this.#pick(step.entries.filter(({ isAccepted }) => !isAccepted));
    if (step === undefined || entry === undefined) return;
    const all = entry.tokens.length - entry.skipped;
    const isBuiltUpon = this.#oracle.isBuiltUpon(step, entry.sequence);
    const count = isBuiltUpon ? all : this.#random.integer(0, all);
    this.#log(`accept ${count} of ${all} of ${entry.sequence.number} in step ${step.number}`);
    this.#oracle.accept(step, entry, count);
  }

  async #abort(): Promise<void> {
    const step = this.#pick(this.#oracle.steps);
    if (step === undefined) return;
    this.#log(`abort ${step.number}, ${step.stage}`);
    if (this.#oracle.abort(step)) return;
    this.#log('… once it is over');
    await this.#oracle.underWay.settle();
    this.#oracle.abort(step);
  }

  async #transfer(): Promise<void> {
    const transfer = this.#pick(this.#oracle.transfers);
    if (transfer === undefined || transfer.isUnderWay) return;
    if (transfer.isBegun) return this.#endTransfer(transfer);
    if (this.#oneIn(2)) {
      const staysUnderWay = this.#oneIn(2);
      this.#log(`transfer ${transfer.number}${staysUnderWay ? ', left under way' : ''}`);
      const end = this.#oracle.startTransfer(transfer);
      if (!staysUnderWay) await end;
      return;
    }
    const isEarly = this.#oneIn(2);
    this.#log(`begin transfer ${transfer.number}, ${isEarly ? 'early' : 'late'}`);
    return this.#oracle.beginTransfer(transfer, isEarly);
  }

  #endTransfer(transfer: Moving): Promise<void> {
    const ok = !this.#hasFailures || !this.#oneIn(4);
    this.#log(`end transfer ${transfer.number}${ok ? '' : ', failed'}`);
    return this.#oracle.endTransfer(transfer, ok);
  }

  #cancel(): void {
    const execution = this.#hasFailures ? this.#pick(this.#oracle.underWay.executions) : undefined;
    if (execution === undefined) return;
    this.#log('cancel what is under way');
    execution.cancel();
  }

  #clear(): void {
    const namespace = this.#oneIn(3) ? undefined : this.#random.pick(NAMESPACES);
    this.#log(`clear ${namespace ?? 'all'}`);
    this.#oracle.clear(namespace);
  }

  #reuse(): Reuse {
    return this.#oneIn(2) ? 'never' : this.#random.integer(0, 5000);
  }

  /** Of an open sequence, or of what is cached of a prompt. */
  #retain(): void {
    const from = this.#random.integer(0, this.#options.maxSequenceTokens);
    const retention = {
      priority: this.#random.integer(0, 6),
      ...(this.#oneIn(2) ? { ttl: this.#random.integer(1, 1000) } : {}),
      ...(this.#oneIn(2) ? { from, to: from + this.#random.integer(1, 20) } : {}),
    };
    const prompt = this.#prompts.next();
    const where = this.#where();
    const sequence = this.#pick(this.#oracle.sequences);
    const asked = JSON.stringify(retention);
    const { kv } = this.#oracle;
    if (sequence !== undefined && !this.#oracle.isInStep(sequence) && this.#oneIn(2)) {
      this.#log(`retain ${sequence.number} ${asked}`);
      // A fifth range would be refused: this one takes the place of all.
      this.#oracle.tell(() => sequence.handle.retain({ ...retention, from: 0, to: 2 ** 32 - 1 }));
    } else if (this.#oneIn(2)) {
      this.#log(`retain in ${JSON.stringify(where)}: ${prompt.join(' ')} ${asked}`);
      this.#oracle.tell(() => kv.retain(prompt, retention, where));
    } else {
      const reuse = this.#reuse();
      this.#log(`expect reuse in ${JSON.stringify(where)}: ${prompt.join(' ')}, ${reuse}`);
      this.#oracle.tell(() => kv.expectReuse(prompt, reuse, where));
    }
  }

  #demote(): void {
    const prompt = this.#prompts.next();
    const where = this.#where();
    const { handle } = this.#oracle.demote(prompt, where);
    this.#log(`demote in ${JSON.stringify(where)}: ${prompt.join(' ')}, moves ${handle.blocks}`);
  }

  #prefetch(): void {
    const isFull = this.#oracle.steps.length === this.#options.maxOpenSteps;
    if (isFull || !this.#hasRoom()) return;
    const prompt = this.#prompts.next();
    const where = this.#where();
    const step = this.#oracle.prefetch(prompt, where);
    this.#log(`prefetch in ${JSON.stringify(where)}: ${prompt.join(' ')}: ${describe(step)}`);
  }

  /** Taken back one time in four; as far as the others' quotas, steps and transfers allow. */
  #quota(): void {
    const { kv } = this.#oracle;
    const { device, host } = kv.stats();
    const limits = (total: number): TierQuota => {
      const min = this.#random.integer(0, total);
      return this.#oneIn(2) ? { min } : { min, max: this.#random.integer(min, total) };
    };
    const namespace = this.#random.pick(NAMESPACES);
    const quota = this.#oneIn(4)
      ? { namespace }
      : { namespace, device: limits(device.total), host: limits(host.total) };
    this.#log(`quota ${JSON.stringify(quota)}`);
    try {
      this.#oracle.tell(() => kv.setQuota(quota));
    } catch (error) {
      if (!isRefusedQuota(error)) throw error;
    }
  }

  /** Nothing may be left held. */
  async #finish(): Promise<void> {
    this.#log('finish');
    const oracle = this.#oracle;
    await oracle.underWay.settle();
    while (oracle.steps.length > 0) oracle.abort(oracle.steps.at(-1)!);
    for (const transfer of oracle.transfers) {
      await (transfer.isBegun ? oracle.endTransfer(transfer) : oracle.finishTransfer(transfer));
    }
    await oracle.check();
    for (const sequence of oracle.sequences) oracle.close(sequence);
    oracle.clear();
    await oracle.check();
    const { device, host } = oracle.kv.stats();
    if (device.free === device.total && host.free === host.total) return;
    throw new Error(`blocks are left: ${JSON.stringify({ device, host })}`);
  }

  /** A closed sequence keeps its slot until its steps have ended; so does a prefetch, which has no entry. */
  #hasRoom(): boolean {
    const entries = this.#oracle.steps.flatMap((step) => step.entries);
    const occupied = new Set([
      ...this.#oracle.sequences,
      ...entries.map(({ sequence }) => sequence),
    ]);
    const prefetches = this.#oracle.steps.filter((step) => step.entries.length === 0).length;
    return occupied.size + prefetches < this.#options.maxSequences;
  }

  #pickOperation(): Operation {
    let at = this.#random.next() * this.#weights.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [operation, weight] of this.#weights) {
      if ((at -= weight) < 0) return operation;
    }
    return 'open';
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from.length === 0 ? undefined : this.#random.pick(from);
  }

  #oneIn(chances: number): boolean {
    return oneIn(this.#random, chances);
  }

  #log(line: string): void {
    this.log.push(line);
  }
}

function describe(step: Planned | undefined): string {
  if (step === undefined) return 'does not fit';
  const { offloads, onboards, copies } = step.moves;
  const moves = `${offloads.length / 3} offloads, ${onboards.length / 3} onboards, ${copies.length / 4} copies`;
  return `step ${step.number}, ${moves}`;
}
