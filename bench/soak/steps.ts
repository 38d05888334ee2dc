/** Steps that are open together: executed one after the other, each with its pass, then committed or aborted in order. */
import { PagedKvError, type KvCacheManager, type Step } from '../../src/index.js';
import { Machine, Noise } from '../../src/cli/bench/machine.js';
import type { VirtualClock } from './clock.js';
import type { Contents } from './contents.js';
import type { FlakyDevice, Flight } from './device.js';
import type { Dice } from './dice.js';
import type { Digest } from './digest.js';
import type { Request } from './request.js';

/** Part of a step: the next `count` tokens of a request. */
export interface Entry {
  readonly request: Request;
  readonly count: number;
}

interface OpenStep {
  readonly step: Step;
  /** None for a prefetch. */
  readonly entries: readonly Entry[];
  readonly flight: Flight;
}

/** Of a step. */
const IS_ABORTED = 0.02;

export interface StepParts {
  readonly kv: KvCacheManager;
  readonly clock: VirtualClock;
  readonly device: FlakyDevice;
  readonly contents: Contents;
  readonly dice: Dice;
  readonly digest: Digest;
}

export class OpenSteps {
  readonly counts = { commits: 0, aborts: 0, failedSteps: 0, tokens: 0 };
  readonly #parts: StepParts;
  readonly #machine: Machine;
  #open: OpenStep[] = [];

  constructor(parts: StepParts) {
    const blockTokens = parts.kv.layout.blockSize;
    this.#parts = parts;
    this.#machine = new Machine({ ratio: 10, drift: 1, blockTokens });
  }

  get isEmpty(): boolean {
    return this.#open.length === 0;
  }

  has(request: Request): boolean {
    return this.#open.some(({ entries }) => entries.some((entry) => entry.request === request));
  }

  /** Executes a step, unless chance has it aborted before. */
  begin(step: Step, entries: readonly Entry[]): void {
    const { device, dice } = this.#parts;
    if (dice.chance(IS_ABORTED)) {
      step.abort();
      this.counts.aborts += 1;
      return;
    }
    this.#open.push({ step, entries, flight: device.execute(step) });
  }

  /** Calls `onCommit` with each entry that came true, oldest first. */
  async end(onCommit: (entry: Entry, blockTable: Int32Array) => void): Promise<void> {
    for (const open of this.#open) {
      if (open.entries.length > 0 && (await open.flight.submitted)) await this.#pass(open);
    }
    const ended = await Promise.all(this.#open.map(({ flight }) => flight.ended));
    const steps = this.#open;
    this.#open = [];
    const done: (readonly [OpenStep, Int32Array])[] = [];
    for (const [i, open] of steps.entries()) {
      if (!isOpen(open.step)) continue; // it went with an older one
      if (!ended[i]) this.counts.failedSteps += 1;
      if (ended[i] === true && !this.#parts.dice.chance(IS_ABORTED)) {
        const { blockTable } = open.step.attention.groups[0]!;
        open.step.commit();
        this.counts.commits += 1;
        done.push([open, blockTable]);
      } else {
        open.step.abort();
        this.counts.aborts += 1;
      }
    }
    // No step is open any more, so that all may be done with those who were in one.
    for (const [{ entries }, blockTable] of done) {
      for (const entry of entries) onCommit(entry, blockTable);
    }
  }

  async #pass({ step, entries }: OpenStep): Promise<void> {
    const { clock, contents, dice, digest } = this.#parts;
    const { attention } = step;
    const slots = attention.groups[0]!.slotMapping;
    for (const [i, { request, count }] of entries.entries()) {
      const end = request.computed + count;
      let query = attention.cumulativeLengths[i]!;
      request.row = attention.rows[i]!;
      for (let at = request.computed + attention.skipped[i]!; at < end; at++) {
        const slot = slots[query++]!;
        if (slot >= 0) contents.write(slot, request.history.print(at));
      }
    }
    digest.add(attention.tokens, attention.batch);
    this.counts.tokens += attention.tokens;
    const noise = new Noise(dice.integer(0, 2 ** 30), 0);
    const milliseconds = this.#machine.prefill(attention.tokens, 0, noise);
    await clock.sleep(milliseconds);
    const [only] = entries;
    if (entries.length > 1 || only!.count === 1) return;
    const past = only!.request.computed + attention.skipped[0]!;
    this.#parts.kv.reportPrefill({ tokens: attention.tokens, past, milliseconds });
  }
}

function isOpen(step: Step): boolean {
  try {
    return step.attention.batch > 0;
  } catch (error) {
    if (error instanceof PagedKvError && error.code === 'STEP_CLOSED') return false;
    throw error;
  }
}
