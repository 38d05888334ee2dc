/** Continuous batching through the manager: blocks as they are needed, preemption by dropping. */
import { KvCacheManager, type Batch, type Sequence } from '../../index.js';
import { blocksFor, type AdmissionPolicy, type Member } from './admission.js';
import { firstPassTokens, totalTokens, type Lengths } from './lengths.js';
import { Tally, type Shares } from './tally.js';

export interface PagedSetup {
  readonly slots: number;
  readonly blockSize: number;
  /** Tokens of the longest request. */
  readonly maxLength: number;
}

export interface PagedResult {
  readonly shares: Shares;
  readonly preemptions: number;
  /** Computed before they were dropped, and again, because they were found in memory no more. */
  readonly recomputedTokens: number;
}

/** `onPass` is told how many requests have begun. */
export function simulatePaged(
  requests: readonly Lengths[],
  setup: PagedSetup,
  admission: AdmissionPolicy,
  onPass: (begun: number) => void,
): PagedResult {
  const simulation = new PagedSimulation(requests, setup, admission);
  try {
    while (simulation.pass()) onPass(simulation.begun);
    return simulation.result();
  } finally {
    simulation.close();
  }
}

interface Running extends Member {
  /** Its place in the file. */
  readonly arrival: number;
  readonly sequence: Sequence;
  /** Its tokens are this id and those after it, which nobody else has. */
  readonly firstId: number;
  held: number;
}

class PagedSimulation {
  readonly #requests: readonly Lengths[];
  readonly #admission: AdmissionPolicy;
  readonly #blockSize: number;
  readonly #blocks: number;
  readonly #kv: KvCacheManager;
  readonly #batch: Batch;
  readonly #tally: Tally;
  /** In the order in which they joined. */
  #running: Running[] = [];
  /** By arrival. They stand before all that have not begun. */
  readonly #dropped: Running[] = [];
  readonly #ids: Uint32Array;
  #nextId = 0;
  #preemptions = 0;
  #recomputedTokens = 0;
  /** Requests that have been admitted at least once. */
  begun = 0;

  constructor(requests: readonly Lengths[], setup: PagedSetup, admission: AdmissionPolicy) {
    const { slots, blockSize, maxLength } = setup;
    this.#requests = requests;
    this.#admission = admission;
    this.#blockSize = blockSize;
    this.#blocks = Math.floor(slots / blockSize);
    const maxSequences = mostAtOnce(requests, blockSize, this.#blocks);
    this.#kv = new KvCacheManager({
      // No byte is moved.
      model: { layers: 1, kvHeads: 1, headDim: 1, dtype: 'f32' },
      blockSize,
      device: { blocks: this.#blocks },
      maxSequences,
      maxBatchSequences: maxSequences,
      maxSequenceTokens: maxLength,
      maxBatchTokens: slots,
      maxOpenSteps: 1,
    });
    this.#batch = this.#kv.batch();
    this.#tally = new Tally(slots);
    this.#ids = new Uint32Array(maxLength);
  }

  /** False once all requests have ended. */
  pass(): boolean {
    this.#decode();
    this.#admit();
    if (this.#running.length === 0) return false;
    this.#count();
    this.#leave();
    return true;
  }

  result(): PagedResult {
    return {
      shares: this.#tally.shares(),
      preemptions: this.#preemptions,
      recomputedTokens: this.#recomputedTokens,
    };
  }

  close(): void {
    this.#kv.close();
  }

  /** One more token for every running request, or for those that are left when that does not fit. */
  #decode(): void {
    while (this.#running.length > 0) {
      this.#batch.clear();
      for (const { sequence, firstId, held } of this.#running) {
        this.#batch.addToken(sequence, toId(firstId + held));
      }
      if (this.#commitBatch()) break;
      this.#preempt(this.#admission.victim(this.#running));
    }
    for (const running of this.#running) running.held += 1;
  }

  #preempt(at: number): void {
    const [victim] = this.#running.splice(at, 1) as [Running];
    this.#kv.preempt(victim.sequence, { mode: 'drop' });
    const after = this.#dropped.findIndex(({ arrival }) => arrival > victim.arrival);
    this.#dropped.splice(after === -1 ? this.#dropped.length : after, 0, victim);
    this.#preemptions += 1;
    this.#admission.onPreempted?.();
  }

  /** First come, first served: nobody passes one that has to wait. */
  #admit(): void {
    for (;;) {
      const next = this.#dropped[0] ?? this.#candidate();
      if (next === undefined || !this.#admits(next)) return;
      this.#running.push('sequence' in next ? this.#resume() : this.#open());
    }
  }

  /** The first that has not begun. */
  #candidate(): Member | undefined {
    const request = this.#requests[this.begun];
    if (request === undefined) return undefined;
    return { held: firstPassTokens(request), total: totalTokens(request) };
  }

  #admits(candidate: Member): boolean {
    const blockSize = this.#blockSize;
    const freeBlocks = this.#kv.admission().afterEviction / blockSize;
    // What it computes now, it computes in one pass.
    if (blocksFor(candidate.held, blockSize) > freeBlocks) return false;
    const memory = { blockSize, blocks: this.#blocks, freeBlocks, running: this.#running };
    return this.#admission.admits(candidate, memory);
  }

  #open(): Running {
    const arrival = this.begun;
    const request = this.#requests[arrival]!;
    const firstId = this.#nextId;
    const total = totalTokens(request);
    const held = firstPassTokens(request);
    const ids = this.#idsOf(firstId, held);
    const sequence = this.#kv.open(ids);
    this.#compute(sequence, ids);
    this.#nextId = toId(firstId + total);
    this.begun += 1;
    return { arrival, sequence, firstId, total, held };
  }

  #resume(): Running {
    const running = this.#dropped.shift()!;
    const ids = this.#idsOf(running.firstId, running.held);
    const cached = running.sequence.resume(ids);
    this.#compute(running.sequence, ids.subarray(cached));
    this.#recomputedTokens += running.held - cached;
    return running;
  }

  #compute(sequence: Sequence, ids: Uint32Array): void {
    this.#batch.clear();
    this.#batch.add(sequence, ids);
    if (!this.#commitBatch()) throw new Error('the free blocks that were counted are not there');
  }

  /** False where the blocks for it are not there. */
  #commitBatch(): boolean {
    const step = this.#kv.schedule(this.#batch);
    if (!step.ok) return false;
    step.commit();
    return true;
  }

  #count(): void {
    let used = 0;
    let later = 0;
    let never = 0;
    for (const { held, total } of this.#running) {
      const empty = blocksFor(held, this.#blockSize) * this.#blockSize - held;
      const filled = Math.min(empty, total - held);
      used += held;
      later += filled;
      never += empty - filled;
    }
    const isWaited = this.#dropped.length > 0 || this.begun < this.#requests.length;
    this.#tally.add(used, later, never, this.#running.length, isWaited);
  }

  #leave(): void {
    const isDone = ({ held, total }: Running): boolean => held >= total;
    if (!this.#running.some(isDone)) return;
    for (const { sequence } of this.#running.filter(isDone)) {
      sequence.close();
      this.#admission.onFinished?.();
    }
    this.#running = this.#running.filter((running) => !isDone(running));
  }

  /** Valid until the next call. */
  #idsOf(firstId: number, count: number): Uint32Array {
    const ids = this.#ids.subarray(0, count);
    for (let i = 0; i < count; i++) ids[i] = firstId + i;
    return ids;
  }
}

/** Ids begin anew after 2^32 tokens, when those that had them are long forgotten. */
function toId(id: number): number {
  return id >>> 0;
}

/**
 * Requests that can be open at once. A dropped one is open too, but it was running beside all the others
 * when the last of them began, so it is enough that their prompts fit together.
 */
function mostAtOnce(requests: readonly Lengths[], blockSize: number, blocks: number): number {
  const prompts = requests.map((request) => blocksFor(firstPassTokens(request), blockSize));
  prompts.sort((a, b) => a - b);
  let count = 0;
  for (let sum = 0; count < prompts.length; count++) {
    sum += prompts[count]!;
    if (sum > blocks) break;
  }
  return Math.max(1, count);
}
