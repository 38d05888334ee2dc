/**
 * The payload oracle: it drives a manager and a real cache, and keeps each sequence's true tokens itself.
 * Every token's keys and values follow from its whole prefix, blocks that nobody holds are NaN, and every
 * sequence must read back through its block table. The sibling, in TypeScript and over real memory, of
 * `native/test/simulated_device.h`.
 *
 * Does NOT cover: misuse (the tests of the API do), several cache groups, and f16.
 *
 * Invariant of `check`: the manager finds nothing broken, the tiers add up, and every active sequence whose
 * row is known reads back right, whatever is scheduled and not executed yet.
 */
import assert from 'node:assert/strict';
import {
  PagedKvError,
  type Batch,
  type KeyRange,
  type KvCacheManager,
  type PromptOptions,
  type Reuse,
  type Step,
  type Transfer,
} from '../src/index.js';
import type { Executable, Execution, Moves } from '../src/plan.js';
import { endOf, UnderWay } from './oracle.faults.js';
import type { OracleMemory } from './oracle.memory.js';
import { emptyPrefix, extend, type Prefix } from './oracle.payload.js';
import { freeBlocks, poisonAll, poisonFresh, poisonTargets, spoil } from './oracle.poison.js';
import { ReadBack } from './oracle.readback.js';
import {
  queryTokens,
  setHistory,
  type Entry,
  type Moving,
  type Planned,
  type Tracked,
  type Wanted,
} from './oracle.state.js';

/** No prompt has it. */
const NEVER = 2 ** 32 - 1;
/** No prompt has it, and it stands before what any has. */
const BEFORE_ALL = 0;

export interface HowToExecute {
  /** Runs while the device is at work. */
  readonly meanwhile?: () => void;
  readonly isCancelled?: boolean;
  /** Begins before the pass. */
  readonly prefetch?: Planned | undefined;
  readonly staysUnderWay?: boolean;
}

export class Oracle implements Disposable {
  readonly kv: KvCacheManager;
  readonly memory: OracleMemory;
  /** Open, as are the steps, oldest first, and the transfers. */
  sequences: Tracked[] = [];
  steps: Planned[] = [];
  transfers: Moving[] = [];
  readonly underWay = new UnderWay();
  readonly #batch: Batch;
  readonly #readBack: ReadBack;
  /** By namespace: how often it was cleared. */
  readonly #epochs = new Map<string, number>();
  #allEpochs = 0;
  /** The manager's block table, once a step showed it. */
  #table: Int32Array | undefined;
  /** Calls that changed the manager's state. */
  #changes = 0;
  #numbers = 0;
  /** Of `#changes`, when free blocks were poisoned last. */
  #poisonedAt = -1;

  static async create(kv: KvCacheManager, memory: OracleMemory): Promise<Oracle> {
    await poisonAll(memory);
    return new Oracle(kv, memory);
  }

  private constructor(kv: KvCacheManager, memory: OracleMemory) {
    this.kv = kv;
    this.memory = memory;
    this.#batch = kv.batch();
    this.#readBack = new ReadBack(memory);
  }

  [Symbol.dispose](): void {
    this.kv.close();
  }

  // --- Sequences ---

  open(tokens: readonly number[], namespace = '', keys: readonly KeyRange[] = []): Tracked {
    const hit = this.kv.lookup(tokens, { namespace, keys });
    const hasRow = this.#isOnDevice(tokens, { namespace, keys });
    const before = this.kv.stats().explorations;
    const handle = this.kv.open(tokens, { namespace, keys });
    const cached = handle.cachedTokens;
    if (this.kv.stats().explorations === before) {
      const found = hit.device + hit.worth;
      assert.equal(cached, Math.min(found, tokens.length - 1), 'cachedTokens');
    }
    assert(
      cached >= Math.min(hit.device, tokens.length - 1),
      'what is on the device was not found',
    );
    assert(cached <= hit.device + hit.host, 'more was found than there is');
    return this.#adopt({ handle, namespace, keys, hasRow }, tokens.slice(0, cached), []);
  }

  fork(parent: Tracked, at = parent.tokens.length): Tracked {
    const handle = parent.handle.fork(at);
    const { namespace, keys } = parent;
    const hasRow = this.#forkHasRow(parent);
    const [tokens, prefixes] = [parent.tokens.slice(0, at), parent.prefixes.slice(0, at)];
    return this.#adopt({ handle, namespace, keys, hasRow }, tokens, prefixes);
  }

  truncate(sequence: Tracked, length: number): void {
    sequence.handle.truncate(length);
    this.#changes += 1;
    sequence.tokens = sequence.tokens.slice(0, length);
    sequence.prefixes = sequence.prefixes.slice(0, length);
  }

  close(sequence: Tracked, reuse?: Reuse): void {
    sequence.handle.close(reuse === undefined ? undefined : { reuse });
    this.#changes += 1;
    sequence.isClosed = true;
    this.sequences = this.sequences.filter((each) => each !== sequence);
  }

  drop(sequence: Tracked): void {
    const transfer = this.kv.preempt(sequence.handle, { mode: 'drop' });
    assert(transfer.ok && transfer.blocks === 0, 'dropping moves nothing');
    this.#changes += 1;
    sequence.tokens = [];
    sequence.prefixes = [];
  }

  /** Without keys, under those it had. */
  resume(sequence: Tracked, tokens: readonly number[], keys?: readonly KeyRange[]): void {
    sequence.keys = keys ?? sequence.keys;
    sequence.hasRow = this.#isOnDevice(tokens, sequence);
    const cached = sequence.handle.resume(tokens, keys === undefined ? undefined : { keys });
    this.#changes += 1;
    sequence.tokens = tokens.slice(0, cached);
    sequence.prefixes = this.#extended(sequence, [], sequence.tokens);
  }

  clear(namespace?: string): void {
    this.kv.clear(namespace === undefined ? undefined : { namespace });
    this.#changes += 1;
    if (namespace === undefined) this.#allEpochs += 1;
    else this.#epochs.set(namespace, (this.#epochs.get(namespace) ?? 0) + 1);
  }

  /** Learns the sequence's row from a step that is aborted at once, which must leave no trace. */
  probe(sequence: Tracked): void {
    const digest = this.kv.validate();
    const step = this.kv.schedule([{ sequence: sequence.handle, tokens: 1 }]);
    if (!step.ok) return;
    this.#table = step.attention.groups[0]!.blockTable;
    sequence.row = step.attention.rows[0]!;
    step.abort();
    assert.equal(this.kv.validate(), digest, 'a step that was aborted left a trace');
  }

  /** Tokens that open steps compute for it. */
  pendingTokens(sequence: Tracked): number {
    return (
      (this.#lastEntry(sequence)?.prefixes.length ?? sequence.tokens.length) -
      sequence.tokens.length
    );
  }

  isInStep(sequence: Tracked): boolean {
    return this.#lastEntry(sequence) !== undefined;
  }

  // --- Steps ---

  /** Undefined where it does not fit; then nothing may have changed. */
  schedule(wanted: readonly Wanted[]): Planned | undefined {
    const digestBefore = this.kv.validate();
    const handle = this.#trySchedule(wanted);
    if (!handle?.ok) {
      assert.equal(this.kv.validate(), digestBefore, 'a schedule that did not fit left a trace');
      return undefined;
    }
    const { attention } = handle;
    this.#table = attention.groups[0]!.blockTable;
    assert.equal(attention.batch, wanted.length, 'the batch');
    const entries = wanted.map((each, i) => this.#entry(each, handle.attention, i));
    const query = entries.reduce((sum, each) => sum + each.tokens.length - each.skipped, 0);
    assert.equal(attention.tokens, query, 'the query tokens');
    return this.#plan(handle, entries, digestBefore);
  }

  /** A step without entries, or undefined where it does not fit. */
  prefetch(tokens: readonly number[], where: PromptOptions): Planned | undefined {
    const digestBefore = this.kv.validate();
    const handle = orTooMany(() => this.kv.prefetch(tokens, where));
    if (!handle?.ok) {
      assert.equal(this.kv.validate(), digestBefore, 'a prefetch that did not fit left a trace');
      return undefined;
    }
    assert.equal(handle.attention.tokens, 0, 'the query tokens of a prefetch');
    return this.#plan(handle, [], digestBefore);
  }

  #plan(handle: Step, entries: readonly Entry[], digestBefore: bigint): Planned {
    const { attention, moves } = handle;
    const step: Planned = {
      number: this.#numbers++,
      handle,
      // The manager's own objects are of a slot that steps share; these are of this step.
      attention: { ...attention, groups: attention.groups.map((group) => ({ ...group })) },
      moves: copyOf(moves),
      entries,
      stage: 'scheduled',
      written: [],
      digestBefore,
      changesAfter: ++this.#changes,
    };
    this.steps.push(step);
    return step;
  }

  /** Waits for the end, unless it `staysUnderWay`: then only until the pass was written. */
  async execute(step: Planned, how: HowToExecute = {}): Promise<void> {
    const { execution, end } = await this.#start(step);
    how.meanwhile?.();
    const beside = how.prefetch === undefined ? undefined : await this.#start(how.prefetch);
    if (how.isCancelled === true) execution.cancel();
    if (await endOf(execution.submitted)) await this.#pass(step);
    if (beside !== undefined && (await endOf(beside.execution.submitted)))
      markLanding(how.prefetch!);
    if (how.staysUnderWay !== true) await Promise.all([end, beside?.end]);
  }

  async #start(step: Planned): Promise<{ execution: Execution; end: Promise<boolean> }> {
    await poisonTargets(this.memory, step.moves);
    const execution = this.memory.cache.execute(this.#watched(step));
    return { execution, end: this.underWay.add(execution) };
  }

  async #pass(step: Planned): Promise<void> {
    markLanding(step);
    // None follows a prefetch: the device has the lists of an earlier step.
    if (step.attention.tokens === 0) return;
    await poisonFresh(this.memory, step);
    const query = [...queryTokens(step)];
    step.written = query.map(({ slot }) => slot).filter((slot) => slot >= 0);
    this.memory.write(
      step.attention,
      query.map(({ entry, position }) => entry.prefixes[position]!),
    );
    this.#readBack.forget();
    await this.#readBack.checkPass(step, this.#table!);
  }

  /** Tells the step, and learns from it, how its execution ends. */
  #watched(step: Planned): Executable {
    const { handle } = step;
    return {
      moves: handle.moves,
      attention: handle.attention,
      beginExecute: () => {
        handle.beginExecute();
        this.#changes += 1;
      },
      endExecute: (ok) => {
        handle.endExecute(ok);
        step.stage = ok ? 'executed' : 'failed';
        this.#changes += 1;
        this.#readBack.forget();
      },
    };
  }

  /** A device that fails may have overwritten whatever it was to write. */
  async failToExecute(step: Planned): Promise<void> {
    step.handle.beginExecute();
    await spoil(this.memory, step);
    step.handle.endExecute(false);
    this.#changes += 1;
    step.stage = 'failed';
    this.#readBack.forget();
  }

  /** Of the entry's query tokens only the first `count`: what the others wrote is nobody's. */
  accept(step: Planned, entry: Entry, count: number): void {
    step.handle.accept(entry.sequence.handle, count);
    this.#changes += 1;
    const end = entry.base + entry.skipped + count;
    const rejected = [...queryTokens(step)].filter(
      (each) => each.entry === entry && each.position >= end,
    );
    const slots = new Set(rejected.map(({ slot }) => slot).filter((slot) => slot >= 0));
    for (const slot of slots) this.memory.poisonSlots(slot, 1);
    this.#readBack.forget();
    step.written = step.written.filter((slot) => !slots.has(slot));
    const tokens = entry.tokens.slice(0, entry.skipped + count);
    const accepted = { ...entry, tokens, prefixes: entry.prefixes.slice(0, end), isAccepted: true };
    step.entries = step.entries.map((each) => (each === entry ? accepted : each));
  }

  /** Whether a later open step holds the sequence. */
  isBuiltUpon(step: Planned, sequence: Tracked): boolean {
    const later = this.steps.slice(this.steps.indexOf(step) + 1);
    return later.some(({ entries }) => entries.some((entry) => entry.sequence === sequence));
  }

  commit(step: Planned): void {
    const ids = step.entries.flatMap(({ byCount, tokens, skipped }) =>
      byCount ? tokens.slice(skipped) : [],
    );
    step.handle.commit(ids.length > 0 ? ids : undefined);
    this.#changes += 1;
    step.stage = 'closed';
    this.steps = this.steps.filter((each) => each !== step);
    for (const entry of step.entries) {
      if (entry.sequence.isClosed) continue;
      assert.equal(entry.sequence.tokens.length, entry.base + entry.skipped, 'what was found');
      setHistory(entry, entry.prefixes.length);
    }
  }

  /**
   * Also ends the later steps that share a sequence with it. False where a device is at one of these: then nothing
   * may have changed.
   */
  abort(step: Planned): boolean {
    const mustRestore = step.stage === 'scheduled' && step.changesAfter === this.#changes;
    const digest = this.kv.validate();
    if (isRefused(() => step.handle.abort())) {
      assert.equal(this.kv.validate(), digest, 'an abort that was refused left a trace');
      return false;
    }
    this.#changes += 1;
    if (mustRestore) {
      assert.equal(this.kv.validate(), step.digestBefore, 'an abort left a trace');
    }
    const ended = this.steps.filter((each) => !isOpen(each));
    const sharing = new Set(step.entries.map(({ sequence }) => sequence));
    for (const later of this.steps.slice(this.steps.indexOf(step))) {
      const sequences = later.entries.map(({ sequence }) => sequence);
      if (later !== step && !sequences.some((each) => sharing.has(each))) continue;
      assert(ended.includes(later), 'a step on top of one that was aborted stayed open');
      for (const sequence of sequences) sharing.add(sequence);
    }
    this.steps = this.steps.filter((each) => !ended.includes(each));
    for (const each of ended.reverse()) this.#undo(each);
    return true;
  }

  // --- Transfers ---

  /** Undefined where the host has no room. A transfer with nothing to move has ended already. */
  swapOut(sequence: Tracked, mode: 'swap' | 'auto' = 'swap'): Moving | undefined {
    const digest = this.kv.validate();
    const handle = this.kv.preempt(sequence.handle, { mode });
    if (!handle.ok) {
      assert.equal(this.kv.validate(), digest, 'a swap-out that did not fit left a trace');
      return undefined;
    }
    if (sequence.handle.state === 'dropped') {
      assert.equal(handle.blocks, 0, 'dropping moves nothing');
      sequence.tokens = [];
      sequence.prefixes = [];
    } else {
      sequence.hasRow = false;
    }
    return this.#move(handle);
  }

  demote(tokens: readonly number[], where: PromptOptions): Moving {
    return this.#move(this.kv.demote(tokens, where));
  }

  /** What is kept longer or shorter, or how late it is: the tokens of nobody change. */
  tell(call: () => void): void {
    call();
    this.#changes += 1;
  }

  #move(handle: Transfer): Moving {
    this.#changes += 1;
    const transfer = {
      number: this.#numbers++,
      handle,
      isEarly: false,
      isBegun: false,
      isUnderWay: false,
      hasFailed: false,
    };
    if (handle.blocks > 0) this.transfers.push(transfer);
    return transfer;
  }

  /** `early`: the bytes are copied now, else when it ends. */
  async beginTransfer(transfer: Moving, early: boolean): Promise<void> {
    const { handle } = transfer;
    await poisonTargets(this.memory, handle.moves);
    transfer.isEarly = early;
    transfer.isBegun = true;
    if (early) {
      transfer.hasFailed = !(await this.#execute(handle.moves, () => handle.beginExecute()));
    } else {
      handle.beginExecute();
    }
    this.#changes += 1;
  }

  async endTransfer(transfer: Moving, ok = true): Promise<void> {
    const { handle, isEarly } = transfer;
    let isDone = ok && !transfer.hasFailed;
    if (isDone && !isEarly) isDone = await this.#execute(handle.moves);
    handle.endExecute(isDone);
    this.#forgetTransfer(transfer);
  }

  async finishTransfer(transfer: Moving): Promise<void> {
    await this.startTransfer(transfer);
  }

  /** Resolves when it has ended, which nobody need wait for. */
  startTransfer(transfer: Moving): Promise<boolean> {
    const { handle } = transfer;
    transfer.isUnderWay = true;
    const work: Executable = {
      moves: handle.moves,
      beginExecute: () => handle.beginExecute(),
      endExecute: (ok) => {
        handle.endExecute(ok);
        this.#forgetTransfer(transfer);
      },
    };
    return this.underWay.add(this.memory.cache.execute(work));
  }

  #forgetTransfer(transfer: Moving): void {
    this.#readBack.forget();
    this.#changes += 1;
    this.transfers = this.transfers.filter((each) => each !== transfer);
  }

  // --- Checks ---

  /** Memory was written behind the oracle's back. */
  forget(): void {
    this.#readBack.forget();
  }

  async check(): Promise<void> {
    this.kv.validate();
    const { device, host } = this.kv.stats();
    for (const tier of [device, host]) {
      const { free, mirrors, cached, held, inFlight } = tier;
      assert.equal(free + mirrors + cached + held + inFlight, tier.total, 'a tier');
    }
    for (const { handle, tokens } of this.sequences) {
      assert.equal(handle.length, tokens.length, 'the length of a sequence');
    }
    // What a failed step was to write holds nothing until it is aborted.
    if (this.#table === undefined || this.steps.some(({ stage }) => stage === 'failed')) return;
    this.#poisonFree(this.#table);
    await this.#readBack.checkSequences(this.sequences, this.steps, this.#table);
  }

  // --- Parts ---

  #adopt(
    known: Pick<Tracked, 'handle' | 'namespace' | 'keys' | 'hasRow'>,
    tokens: readonly number[],
    prefixes: readonly Prefix[],
  ): Tracked {
    this.#changes += 1;
    const sequence: Tracked = {
      ...known,
      number: this.#numbers++,
      tokens,
      prefixes,
      isClosed: false,
      row: undefined,
    };
    sequence.prefixes = this.#extended(sequence, prefixes, tokens.slice(prefixes.length));
    this.sequences.push(sequence);
    return sequence;
  }

  /**
   * Whether no part of what a prompt finds is on the host, its last token counted. Asked in three ways, since of
   * several blocks that begin alike the first or the last may be found.
   */
  #isOnDevice(
    tokens: readonly number[],
    { namespace, keys }: Pick<Tracked, 'namespace' | 'keys'>,
  ): boolean {
    const asked = [tokens, [...tokens, BEFORE_ALL], [...tokens, NEVER]];
    return asked.every((each) => this.kv.lookup(each, { namespace, keys }).host === 0);
  }

  /** Whether a fork's row tells where its blocks are: not where a step was planned to bring some back. */
  #forkHasRow(parent: Tracked): boolean {
    if (parent.handle.state !== 'active') return false;
    const steps = this.steps.filter(({ entries }) =>
      entries.some(({ sequence }) => sequence === parent),
    );
    const first = steps[0]?.entries.find(({ sequence }) => sequence === parent);
    if (first === undefined) return parent.hasRow;
    return first.hadRow && steps.every(({ moves }) => moves.onboards.length === 0);
  }

  #lastEntry(sequence: Tracked): Entry | undefined {
    const entries = this.steps.flatMap((step) => step.entries);
    return entries.filter((entry) => entry.sequence === sequence).at(-1);
  }

  #extended(
    { namespace, keys }: Tracked,
    before: readonly Prefix[],
    tokens: readonly number[],
  ): readonly Prefix[] {
    const epoch = this.#allEpochs + (this.#epochs.get(namespace) ?? 0);
    const prefixes = [...before];
    for (const token of tokens) {
      const before = prefixes.at(-1) ?? emptyPrefix(namespace, epoch);
      prefixes.push(extend(before, token, keyAt(keys, prefixes.length)));
    }
    return prefixes;
  }

  /** By array and by batch in turn. */
  #trySchedule(wanted: readonly Wanted[]): ReturnType<KvCacheManager['schedule']> | undefined {
    const entries = wanted.map(({ sequence, tokens, byCount, guesses = false }) => ({
      sequence: sequence.handle,
      tokens: byCount ? tokens.length : tokens,
      guesses,
    }));
    return orTooMany(() => {
      if (this.#changes % 2 === 0) return this.kv.schedule(entries);
      this.#batch.clear();
      for (const { sequence, tokens, guesses } of entries) {
        if (guesses) this.#batch.addGuesses(sequence, tokens);
        else this.#batch.add(sequence, tokens);
      }
      return this.kv.schedule(this.#batch);
    });
  }

  #entry(wanted: Wanted, attention: Planned['attention'], index: number): Entry {
    const { sequence, tokens } = wanted;
    const before = this.#lastEntry(sequence)?.prefixes ?? sequence.prefixes;
    const prefixes = this.#extended(sequence, before, tokens);
    const skipped = attention.skipped[index]!;
    const row = attention.rows[index]!;
    assert.equal(row, sequence.row ?? row, 'the row of a sequence changed');
    assert.equal(attention.pastLengths[index], before.length + skipped, 'past lengths');
    const query = attention.cumulativeLengths[index + 1]! - attention.cumulativeLengths[index]!;
    assert.equal(query, tokens.length - skipped, 'cumulative lengths');
    const { blockSize, maxBlocksPerSequence } = this.kv.layout;
    const begin = row * maxBlocksPerSequence;
    const end = begin + Math.ceil(prefixes.length / blockSize);
    const blocks = attention.groups[0]!.blockTable.slice(begin, end);
    const hadRow = sequence.hasRow;
    const entry = { ...wanted, base: before.length, skipped, hadRow, prefixes, blocks };
    sequence.row = row;
    sequence.hasRow = true;
    // What schedule found is the sequence's at once, until an abort takes it back.
    if (skipped > 0) setHistory(entry, entry.base + skipped);
    return entry;
  }

  /** Where nothing is cached nor under way, a block that no row names is nobody's. */
  #poisonFree(table: Int32Array): void {
    if (this.steps.length > 0 || this.transfers.length > 0) return;
    if (this.#poisonedAt === this.#changes) return;
    this.#poisonedAt = this.#changes;
    if (this.kv.stats().device.cached > 0) return;
    const { blockSize } = this.kv.layout;
    for (const block of freeBlocks(this.kv.layout, this.sequences, table) ?? []) {
      this.memory.poisonSlots(block * blockSize, blockSize);
    }
    this.#readBack.forget();
  }

  /** Moves without the bookkeeping of a transfer, but for its begin. Whether all went well. */
  async #execute(moves: Moves, begin: () => void = () => undefined): Promise<boolean> {
    const work: Executable = { moves, beginExecute: begin, endExecute: () => undefined };
    const isDone = await endOf(this.memory.cache.execute(work));
    this.#readBack.forget();
    return isDone;
  }

  /** Nobody but the aborted step may have seen what it wrote. */
  #undo(step: Planned): void {
    step.stage = 'closed';
    for (const slot of step.written) this.memory.poisonSlots(slot, 1);
    if (step.written.length > 0) this.#readBack.forget();
    for (const entry of step.entries) {
      entry.sequence.hasRow = entry.hadRow;
      if (entry.skipped > 0) setHistory(entry, entry.base);
    }
  }
}

function keyAt(keys: readonly KeyRange[], position: number): string | undefined {
  return keys.find(({ from, to = Infinity }) => position >= from && position < to)?.key;
}

/** What a call answers, or undefined where it would plan more transfers than a step may have. */
function orTooMany<Answer>(call: () => Answer): Answer | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof PagedKvError && error.code === 'TOO_MANY_TRANSFERS') return undefined;
    throw error;
  }
}

function markLanding(step: Planned): void {
  if (step.stage === 'scheduled') step.stage = 'landing';
}

/** Whether a device is still at what the call would end. */
function isRefused(call: () => void): boolean {
  try {
    call();
    return false;
  } catch (error) {
    if (error instanceof PagedKvError && error.code === 'STEP_EXECUTING') return true;
    throw error;
  }
}

/** Whether the manager says so. */
function isOpen({ handle }: Planned): boolean {
  try {
    return handle.attention.batch > 0;
  } catch (error) {
    if (error instanceof PagedKvError && error.code === 'STEP_CLOSED') return false;
    throw error;
  }
}

function copyOf({ offloads, onboards, copies }: Moves): Moves {
  return { offloads: offloads.slice(), onboards: onboards.slice(), copies: copies.slice() };
}
