/** The manager: where users begin. It owns where every token's key and value live, and none of their bytes. */
import { lendStep, newBatch, presentBatch, type Batch } from './batch.js';
import { Core } from './core.js';
import { reportPrefill, reportTransfer, type PrefillReport, type TransferReport } from './costs.js';
import { check, invalidReceiver, PagedKvError, Status, statusError } from './errors.js';
import { takeEvents, type CacheEvent, type EventsOptions } from './events.js';
import { native, Reply } from './native.js';
import { newPin, type Pin } from './pin.js';
import {
  cheapestToPreempt,
  readPreemptMode,
  type PreemptOptions,
  type Victim,
  type VictimOptions,
} from './preempt.js';
import { readManagerOptions, toLayout, type KvCacheManagerOptions } from './options.js';
import type { CacheLayout } from './plan.js';
import { readQuota, type QuotaOptions } from './quota.js';
import {
  PROMPT_OPTIONS,
  readPrompt,
  toPromptWords,
  type NamespaceOption,
  type PromptOptions,
  type PromptWords,
} from './prompt.js';
import {
  readRetention,
  readReuse,
  type Retention,
  type RetentionWords,
  type Reuse,
} from './retention.js';
import { adoptSequence, preemptSequence, retainOpened, type Sequence } from './sequence.js';
import { readStats, type Stats } from './stats.js';
import { newStep, newTransfer, renewStep, type Step, type Transfer } from './step.js';
import {
  checkNamespace,
  isObject,
  readBoolean,
  readIds,
  readIdsToCopy,
  readOptions,
  show,
  type TokenIds,
} from './validate.js';
import { StepViews } from './views.js';

/**
 * Not now: nothing was changed. Blocks, of the cache group that was short; where a namespace's quota is what
 * is short, those of this namespace only.
 */
export interface OutOfBlocks {
  readonly ok: false;
  readonly needed: number;
  /** Can be had now, cached ones included. */
  readonly free: number;
  /** Come free when open steps and transfers end. */
  readonly inFlight: number;
}

export interface OpenOptions extends PromptOptions {
  /** How long its blocks are kept: see `sequence.retain`. At most 4. */
  readonly retention?: Retention | readonly Retention[];
}

/** One sequence's part of a step. */
export interface BatchEntry {
  readonly sequence: Sequence;
  /**
   * The ids of the tokens that the pass computes for it: the prompt's rest, or the id sampled last; or only
   * their number, when the ids are not known yet and come with the commit.
   */
  readonly tokens: TokenIds | number;
  /**
   * That some of the tokens are guesses, which `step.accept` may reject: each is a query token, even where it is
   * found in memory, so that there are logits for it; and `lookup` does not count on them.
   */
  readonly guesses?: boolean;
}

/** What a prompt would find, in tokens from its start: first on the device, then on the host, then computed. */
export interface Lookup {
  readonly device: number;
  readonly host: number;
  /** Of `host` what `open` brings back: the rest is expected to take less time to compute again. */
  readonly worth: number;
  /** Open steps are computing these now: wait for their commit, and they are found. */
  readonly computing: number;
}

/** How many tokens beyond what a prompt finds still fit. */
export interface Admission {
  readonly now: number;
  /** When everything that nobody holds is evicted. */
  readonly afterEviction: number;
  /**
   * Whether the prompt fits and leaves as much of the device free as the `watermarks` ask for: the low one, but
   * the high one from when the device was full until as much could be had again. So what was preempted, and
   * what is new, comes once there is room for it to stay. On a device that holds nothing, all that fits is
   * admitted; where pins hold some of it and nothing runs, go by `afterEviction`.
   */
  readonly admits: boolean;
}

const NO_TOKENS = new Uint32Array();

/**
 * A manager of paged KV memory. It belongs to the thread that made it; several threads may each have their
 * own. Every misuse throws a `PagedKvError` with a stable `code` and changes nothing.
 *
 * ```ts
 * const kv = new KvCacheManager({
 *   model: { layers: 28, kvHeads: 8, headDim: 128, dtype: 'f16' },
 *   device: { bytes: 4 * 2 ** 30 },
 * });
 * const chat = kv.open(prompt);
 * const step = kv.schedule([{ sequence: chat, tokens: prompt.subarray(chat.cachedTokens) }]);
 * if (step.ok) {
 *   await cache.execute(step);
 *   engine.forward(step.attention, cache);
 *   step.commit();
 * }
 * ```
 */
export class KvCacheManager {
  /** The memory that a device must have. */
  readonly layout: CacheLayout;
  readonly #core: Core;
  readonly #views: readonly StepViews[];
  /** For those who schedule arrays. */
  readonly #batch: Batch;

  /**
   * Allocates the metadata of all its blocks and sequences. Names of namespaces and extra keys come later, and
   * each stays once, for as long as a sequence or what is cached stands under it. Throws `INVALID_OPTION`,
   * `UNKNOWN_OPTION`, and `OUT_OF_MEMORY` where the machine cannot hold it. O(blocks).
   */
  constructor(options: KvCacheManagerOptions) {
    const config = readManagerOptions(options);
    const core = new Core(config);
    this.layout = toLayout(config);
    this.#core = core;
    this.#views = Array.from({ length: config.maxOpenSteps }, (_, i) => new StepViews(core, i));
    this.#batch = newBatch(core, this.#views);
  }

  static #coreOf(manager: KvCacheManager): Core {
    try {
      return manager.#core;
    } catch {
      throw invalidReceiver('manager');
    }
  }

  /**
   * A sequence for a prompt, sharing what of it is in memory: see its `cachedTokens`. What of it is on the host
   * is left out where computing it again is expected to take less time than bringing it back, as the option
   * `onboard` says. The ids are not kept: those given to `schedule` or `commit` are the truth. Throws `EMPTY_TOKENS`, `INVALID_TOKEN`,
   * `INVALID_KEYS`, `SEQUENCE_TOO_LONG`, `TOO_MANY_SEQUENCES`, `TOO_MANY_NAMESPACES`, `INDEX_FULL`.
   * O(blocks of the prompt).
   */
  open(tokens: TokenIds, options?: OpenOptions): Sequence {
    const core = KvCacheManager.#coreOf(this);
    const { where, retentions } = readOpenOptions(options);
    const ids = readIds(tokens);
    core.tick();
    check(native.open(core.id, ids, ...where));
    const sequence = adoptSequence(core);
    if (retentions.length > 0) retainOpened(sequence, retentions);
    return sequence;
  }

  /**
   * What `open` would find. Changes nothing, not even what is evicted next. O(blocks of the prompt +
   * sequences in open steps), and squared in the worst case.
   */
  lookup(tokens: TokenIds, options?: PromptOptions): Lookup {
    const core = KvCacheManager.#coreOf(this);
    const where = readPrompt('lookup', options);
    const ids = readIds(tokens);
    check(native.lookup(core.id, ids, ...where));
    const words = core.words;
    return {
      device: words[Reply.device]!,
      host: words[Reply.host]!,
      worth: words[Reply.worth]!,
      computing: words[Reply.computing]!,
    };
  }

  /**
   * Whether a prompt fits, within its namespace's quota. Without one: how many tokens fit at all.
   * O(blocks of the prompt + quotas).
   */
  admission(tokens: TokenIds = NO_TOKENS, options?: PromptOptions): Admission {
    const core = KvCacheManager.#coreOf(this);
    const where = readPrompt('admission', options);
    const ids = readIds(tokens);
    check(native.admission(core.id, ids, ...where));
    const admits = core.words[Reply.admits] === 1;
    return { now: core.reals[0]!, afterEviction: core.reals[1]!, admits };
  }

  /** A reusable batch: with one, a step allocates nothing. */
  batch(): Batch {
    const core = KvCacheManager.#coreOf(this);
    core.checkOpen();
    return newBatch(core, this.#views);
  }

  /**
   * Reserves everything that a pass over the batch needs, in every group, or nothing. The plan is in the
   * step; nothing counts before its commit.
   *
   * A step scheduled from an array is an object of its own. A step scheduled from a `Batch` is lent: the
   * batch uses the object again for a later step, so let go of it at its commit or abort. As long as a
   * batch has `2 * maxOpenSteps` objects in turn, one that was just committed still throws `STEP_CLOSED`.
   *
   * Throws `EMPTY_BATCH`, `EMPTY_TOKENS`, `BATCH_TOO_LARGE`, `DUPLICATE_IN_BATCH`, `SEQUENCE_CLOSED`,
   * `SEQUENCE_DROPPED`, `SEQUENCE_TOO_LONG`, `TOO_MANY_OPEN_STEPS`, `TOO_MANY_TRANSFERS`, `INDEX_FULL`.
   * O(batch + tokens + blocks allocated).
   */
  schedule(batch: Batch | readonly BatchEntry[]): Step | OutOfBlocks {
    const core = KvCacheManager.#coreOf(this);
    core.tick();
    if (Array.isArray(batch)) return this.#scheduleArray(core, batch as readonly BatchEntry[]);
    const status = native.schedule(core.id, presentBatch(batch as Batch, core));
    if (status === Status.ok) return lendStep(batch as Batch);
    return outOfBlocks(core, status);
  }

  /**
   * Takes a running sequence's blocks away. Swapping gives a transfer to execute, and those it shares stay
   * where they are; when the host has no room it is out of blocks. Dropping moves nothing. Throws
   * `SEQUENCE_IN_STEP` while a step holds it, `SEQUENCE_DROPPED`. O(blocks).
   */
  preempt(sequence: Sequence, options?: PreemptOptions): Transfer | OutOfBlocks {
    const core = KvCacheManager.#coreOf(this);
    const mode = readPreemptMode(options);
    core.tick();
    const status = preemptSequence(sequence, core, mode);
    return status === Status.ok ? newTransfer(core) : outOfBlocks(core, status);
  }

  /**
   * Of running sequences, the one that costs least to preempt and to bring back, among those that free as many
   * blocks as are needed; where none does, the one that costs least for each block. What others hold too costs
   * nothing, and frees nothing. Those that a step holds, that are not active, or that free nothing are passed
   * over; of equals, the one that stands later is taken. Changes nothing. O(sequences × runs of blocks).
   */
  cheapestToPreempt(sequences: readonly Sequence[], options?: VictimOptions): Victim | undefined {
    return cheapestToPreempt(KvCacheManager.#coreOf(this), sequences, options);
  }

  /**
   * Tells how long moving blocks took. The caches of this package that measure it tell it themselves; an
   * engine that executes plans on memory of its own should. Throws `INVALID_OPTION`, `UNKNOWN_OPTION`. O(1).
   */
  reportTransfer(report: TransferReport): void {
    reportTransfer(KvCacheManager.#coreOf(this), report);
  }

  /**
   * Tells how long a pass took that computed a prompt, or a part of one. Only the engine can know. Leave out
   * passes that decode: tokens cost something else there. Throws `INVALID_OPTION`, `UNKNOWN_OPTION`. O(1).
   */
  reportPrefill(report: PrefillReport): void {
    reportPrefill(KvCacheManager.#coreOf(this), report);
  }

  /**
   * Asks how long what is cached of a prompt is kept, as `sequence.retain` does for what it holds. Returns the
   * tokens found, whole blocks. Throws `INVALID_OPTION`, `UNKNOWN_OPTION`. O(blocks of the prompt).
   */
  retain(tokens: TokenIds, retention: Retention, options?: PromptOptions): number {
    const core = KvCacheManager.#coreOf(this);
    const { from, to, priority, life } = readRetention(retention);
    const where = readPrompt('retain', options);
    const ids = readIds(tokens);
    core.tick();
    check(native.retainPrompt(core.id, ids, from, to, priority, life, ...where));
    return core.words[Reply.cached]!;
  }

  /**
   * Tells when a prompt that is cached is expected to be used again, where that is known only after its
   * sequence was closed. A number, of milliseconds from now, counts as `close({ reuse })` would have for the
   * sequence that used the end of what is found last. `'never'`: what leads nowhere else is evicted first, and
   * no number takes that back, only a use. What a sequence holds is told by its own close.
   * O(blocks of the prompt + blocks used since).
   */
  expectReuse(tokens: TokenIds, reuse: Reuse, options?: PromptOptions): void {
    const core = KvCacheManager.#coreOf(this);
    const word = readReuse(reuse);
    const where = readPrompt('expectReuse', options);
    const ids = readIds(tokens);
    core.tick();
    check(native.expectReuse(core.id, ids, word, ...where));
  }

  /**
   * Keeps what is cached of a prompt in memory until it is unpinned. Throws as `open`.
   * O(blocks of the prompt).
   */
  pin(tokens: TokenIds, options?: PromptOptions): Pin {
    const core = KvCacheManager.#coreOf(this);
    const where = readPrompt('pin', options);
    const ids = readIds(tokens);
    core.tick();
    check(native.pin(core.id, ids, ...where));
    const held = adoptSequence(core);
    return newPin(core, held, held.cachedTokens);
  }

  /**
   * Moves what is cached of a prompt to the host, from its end up: as far as nobody holds it, nothing that
   * continues it stays on the device, and the host has room. Execute the transfer; its `blocks` may be 0.
   * O(blocks of the prompt).
   */
  demote(tokens: TokenIds, options?: PromptOptions): Transfer {
    const core = KvCacheManager.#coreOf(this);
    const where = readPrompt('demote', options);
    const ids = readIds(tokens);
    core.tick();
    check(native.demote(core.id, ids, ...where));
    return newTransfer(core);
  }

  /**
   * Brings what is cached of a prompt to the device: a step without a token, to be executed and committed.
   * It counts as a use. Throws as `open` and `schedule`. O(blocks of the prompt).
   */
  prefetch(tokens: TokenIds, options?: PromptOptions): Step | OutOfBlocks {
    const core = KvCacheManager.#coreOf(this);
    const where = readPrompt('prefetch', options);
    const ids = readIds(tokens);
    core.tick();
    const status = native.prefetch(core.id, ids, ...where);
    return status === Status.ok ? this.#newStep(core) : outOfBlocks(core, status);
  }

  /**
   * Forgets what is cached under a namespace, or, without one, under all of them, in both tiers. Open
   * sequences keep what they hold, but nobody finds it any more. O(sequences + blocks dropped).
   */
  clear(options?: NamespaceOption): void {
    const core = KvCacheManager.#coreOf(this);
    const namespace = readClearOption(options);
    if (namespace === undefined) check(native.clear(core.id));
    else check(native.clear(core.id, namespace));
  }

  /**
   * Bounds what a namespace may occupy of each tier, and what of it others can evict: see `TierQuota`. It
   * takes the place of the one before; without `device` and `host` there is none any more. It stays with
   * the name whatever becomes of the namespace. While there are quotas, an eviction costs O(namespaces that
   * have one).
   *
   * Throws `INVALID_OPTION`, `UNKNOWN_OPTION`, `INVALID_NAMESPACE`; `QUOTA_TOO_LARGE` where all namespaces
   * would keep more than a tier has; `TOO_MANY_QUOTAS` beyond 255; and, when a namespace that has blocks
   * gets its first quota or gives up its last, `QUOTA_IN_USE` while a step or a transfer is open. That costs
   * O(namespaces + sequences + its blocks + blocks that nobody holds), every other call O(quotas).
   */
  setQuota(options: QuotaOptions): void {
    const core = KvCacheManager.#coreOf(this);
    const { namespace, device, host } = readQuota(options);
    check(native.setQuota(core.id, namespace, ...device, ...host));
  }

  /**
   * What changed since the last call for those who keep a picture of what prompts can find: first what is
   * gone, then what is new, a parent before its children. What came and went meanwhile is left out, and moves
   * between tiers, so that it costs no more memory however seldom it is asked. Its first answer is all that
   * there is. A block is one full block of tokens; an aborted step tells nothing. Throws `EVENTS_OFF` without
   * the option `events`. O(events).
   */
  takeEvents(options?: EventsOptions): CacheEvent[] {
    return takeEvents(KvCacheManager.#coreOf(this), options);
  }

  /** O(open steps and transfers). */
  stats(): Stats {
    return readStats(KvCacheManager.#coreOf(this));
  }

  /**
   * Recomputes every invariant from scratch and returns a digest of the whole state, list orders included.
   * Throws `INVARIANT_BROKEN`, which would be a defect of this library. O(everything): for tests.
   */
  validate(): bigint {
    const core = KvCacheManager.#coreOf(this);
    core.tick();
    const found = native.validate(core.id);
    if (typeof found === 'bigint') return found;
    if (typeof found === 'number') throw statusError(found);
    throw new PagedKvError('INVARIANT_BROKEN', `please report this: ${found}`);
  }

  /** Closes every sequence and step, whatever they are doing. Later use throws `MANAGER_CLOSED`. */
  close(): void {
    KvCacheManager.#coreOf(this).close();
  }

  [Symbol.dispose](): void {
    KvCacheManager.#coreOf(this).close();
  }

  #scheduleArray(core: Core, entries: readonly BatchEntry[]): Step | OutOfBlocks {
    // Getters of the caller's may do anything, so all are read before the batch is touched.
    const read = Array.from(entries, readEntry);
    const batch = this.#batch;
    batch.clear();
    for (const { sequence, tokens, guesses } of read) {
      if (guesses === true) batch.addGuesses(sequence, tokens);
      else batch.add(sequence, tokens);
    }
    const status = native.schedule(core.id, presentBatch(batch, core));
    return status === Status.ok ? this.#newStep(core) : outOfBlocks(core, status);
  }

  /** For what was just scheduled. */
  #newStep(core: Core): Step {
    const step = newStep(core, this.#views);
    renewStep(step);
    return step;
  }
}

function readEntry(entry: unknown): BatchEntry {
  if (!isObject(entry)) {
    throw new PagedKvError(
      'INVALID_ARGUMENT',
      `a batch is made of { sequence, tokens }, got ${show(entry)}`,
    );
  }
  const { sequence, tokens, guesses } = entry as BatchEntry;
  const ids = typeof tokens === 'number' ? tokens : readIdsToCopy(tokens);
  return { sequence, tokens: ids, guesses: readBoolean('guesses', guesses, false) };
}

function outOfBlocks({ words }: Core, status: number): OutOfBlocks {
  if (status !== Status.outOfBlocks) throw statusError(status);
  return {
    ok: false,
    needed: words[Reply.needed]!,
    free: words[Reply.free]!,
    inFlight: words[Reply.inFlight]!,
  };
}

/** As many as a sequence keeps. */
const MAX_RETENTIONS = 4;

interface OpenWords {
  readonly where: PromptWords;
  readonly retentions: readonly RetentionWords[];
}

const NOTHING_ASKED: OpenWords = { where: [], retentions: [] };

function readOpenOptions(options: unknown): OpenWords {
  if (options === undefined) return NOTHING_ASKED;
  const given = readOptions('open', options, [...PROMPT_OPTIONS, 'retention']);
  const { retention } = given;
  const asked: readonly unknown[] =
    retention === undefined ? [] : Array.isArray(retention) ? retention : [retention];
  if (asked.length > MAX_RETENTIONS) {
    throw new PagedKvError(
      'INVALID_OPTION',
      `retention must be at most ${MAX_RETENTIONS} ranges, got ${asked.length}`,
    );
  }
  return { where: toPromptWords(given), retentions: Array.from(asked, readRetention) };
}

/** Undefined for all namespaces; the default one is `''`. */
function readClearOption(options: unknown): string | undefined {
  if (options === undefined) return undefined;
  const { namespace } = readOptions('clear', options, ['namespace']);
  if (namespace === undefined) return undefined;
  checkNamespace(namespace);
  return namespace;
}
