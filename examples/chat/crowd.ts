/**
 * Who has blocks on the device and who had to give them up. A step gets the blocks it needs, or a smaller batch
 * goes on while somebody's blocks leave beside it.
 */
import type { KvCacheManager, OutOfBlocks, Step } from '../../src/index.js';
import { batchesOf, type Entry } from './batch.js';
import type { Flights } from './flights.js';
import type { Request } from './request.js';
import { UsageError } from './usage.js';

export interface Reserved {
  readonly step: Step;
  readonly entries: readonly Entry[];
}

export class Crowd {
  /** Oldest first. */
  running: Request[] = [];
  /** Swapped out or dropped, the one that has waited longest first. */
  preempted: Request[] = [];
  readonly #kv: KvCacheManager;
  readonly #flights: Flights;
  readonly #batchTokens: number;
  /** Whose blocks are on their way to the host. */
  readonly #leaving = new Set<Request>();
  /** Whose blocks did not get there. */
  readonly #stranded = new Set<Request>();
  #hadToGo = false;

  constructor(kv: KvCacheManager, flights: Flights, batchTokens: number) {
    this.#kv = kv;
    this.#flights = flights;
    this.#batchTokens = batchTokens;
  }

  /** Whether somebody had to go since this was asked last. */
  takePressure(): boolean {
    const hadToGo = this.#hadToGo;
    this.#hadToGo = false;
    return hadToGo;
  }

  /** Optimistic on purpose: room for what is there now, none set aside for the replies that grow beside it. */
  hasRoom(tokens: readonly number[] | Uint32Array): boolean {
    const { device, host } = this.#kv.lookup(tokens);
    const { afterEviction } = this.#kv.admission(tokens);
    return afterEviction >= tokens.length - device - host + this.#kv.layout.blockSize;
  }

  /** The preempted one that has waited longest, unless its blocks are still on their way out. */
  get next(): Request | undefined {
    const [oldest] = this.preempted;
    return oldest !== undefined && !this.#leaving.has(oldest) ? oldest : undefined;
  }

  bringBack(request: Request): void {
    this.preempted = this.preempted.filter((other) => other !== request);
    this.#stranded.delete(request);
    if (request.sequence.state === 'dropped') request.resume();
    this.running.push(request);
  }

  /** A step of as many of those who run as fit; waits for what leaves only where that is nobody. */
  async reserve(): Promise<Reserved> {
    for (;;) {
      const whole = this.#schedule(this.#batches()[0]!);
      if (whole.step.ok) return whole as Reserved;
      if (this.#makeRoom(whole.step)) continue;
      for (const entries of this.#batches().slice(1)) {
        if (entries.length === 0) continue;
        const part = this.#schedule(entries);
        if (part.step.ok) return part as Reserved;
      }
      await this.#flights.landing();
    }
  }

  #batches(): readonly (readonly Entry[])[] {
    return batchesOf(this.running, this.#batchTokens, this.#kv.layout.blockSize);
  }

  #schedule(entries: readonly Entry[]): {
    step: Step | OutOfBlocks;
    entries: readonly Entry[];
  } {
    const batch = entries.map(({ request, count }) => ({
      sequence: request.sequence,
      tokens: request.tokens.slice(request.computed, request.computed + count),
    }));
    return { step: this.#kv.schedule(batch), entries };
  }

  /** Sends somebody away, where those on their way out are not enough. True where the blocks came free at once. */
  #makeRoom({ needed, free, inFlight }: OutOfBlocks): boolean {
    if (needed <= free + inFlight && !this.#flights.isEmpty) return false;
    this.#hadToGo = true;
    const [stranded] = this.#stranded;
    if (stranded !== undefined) return this.#swapOut(stranded);
    const victim = this.running.length > 1 ? this.running.pop() : undefined;
    if (victim === undefined) return this.#dropPreempted(needed, free);
    this.preempted.push(victim);
    // It was about to come back.
    return victim.sequence.state === 'swapped' || this.#swapOut(victim);
  }

  /** True where the host has no room, and it was dropped instead. */
  #swapOut(request: Request): boolean {
    this.#stranded.delete(request);
    const transfer = this.#kv.preempt(request.sequence);
    if (!transfer.ok) {
      this.#drop(request);
      return true;
    }
    this.#leaving.add(request);
    void this.#flights.start(transfer).ended.then(
      (ok) => {
        this.#leaving.delete(request);
        if (!ok) this.#stranded.add(request);
      },
      () => undefined, // told by whoever waits for flights
    );
    return false;
  }

  /** The last resort when a single sequence does not fit: those swapped out may still hold blocks. */
  #dropPreempted(needed: number, free: number): boolean {
    if (!this.#flights.isEmpty) return false;
    const holder = this.preempted.find(({ sequence }) => sequence.state !== 'dropped');
    if (!holder) {
      throw new UsageError(
        `one sequence alone needs ${needed} blocks, ${free} are free: give more (--device-blocks)`,
      );
    }
    this.#drop(holder);
    return true;
  }

  #drop(request: Request): void {
    this.#kv.preempt(request.sequence, { mode: 'drop' });
    request.computed = 0;
  }
}
