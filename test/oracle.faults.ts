/** Transfers whose pieces are delayed, reordered and made to fail at random, and executions left under way. */
import { PagedKvError } from '../src/index.js';
import { deferred, type Deferred } from '../src/device/deferred.js';
import type { Intercept } from '../src/device/webgpu.js';
import type { Execution } from '../src/plan.js';
import type { Random } from './device.random.js';

export class MadeToFail extends Error {}

/** The chances of a piece. */
const FAILS = 0.05;
const IS_LATE = 0.5;
const MOST_TURNS = 6;

/** Nothing happens until it is given a source of randomness, or told to. */
export class Faults {
  random: Random | undefined;
  /** How many of the next pieces are to fail. */
  failing = 0;
  #held: Deferred | undefined;

  readonly intercept: Intercept = async () => {
    await this.#held?.promise;
    if (this.failing > 0) {
      this.failing -= 1;
      throw new MadeToFail('made to fail');
    }
    const { random } = this;
    if (random === undefined) return;
    const turns = random.next() < IS_LATE ? random.integer(1, MOST_TURNS) : 0;
    for (let i = 0; i < turns; i++) await new Promise((resume) => setImmediate(resume));
    if (random.next() < FAILS) throw new MadeToFail('made to fail');
  };

  /** Pieces wait from now on. */
  hold(): void {
    this.#held ??= deferred();
  }

  release(): void {
    this.#held?.resolve();
    this.#held = undefined;
  }
}

/** What an execution may fail with in a program that makes some fail. */
function isIntended(error: unknown): boolean {
  if (error instanceof MadeToFail) return true;
  // A step on top of one that failed while its own execution was asked for.
  return (
    error instanceof PagedKvError &&
    (error.code === 'EXECUTION_CANCELLED' || error.code === 'STEP_FAILED')
  );
}

/** Whether it ended well; rejects with what nobody intended. */
export async function endOf(execution: Promise<void>): Promise<boolean> {
  try {
    await execution;
    return true;
  } catch (error) {
    if (isIntended(error)) return false;
    throw error;
  }
}

/** Executions that nobody waits for yet. */
export class UnderWay {
  readonly #executions = new Map<Execution, Promise<boolean>>();

  get executions(): readonly Execution[] {
    return [...this.#executions.keys()];
  }

  add(execution: Execution): Promise<boolean> {
    const end = endOf(execution).finally(() => this.#executions.delete(execution));
    // Awaited by `settle`; until then a rejection must not count as unhandled.
    end.catch(() => undefined);
    this.#executions.set(execution, end);
    return end;
  }

  async settle(): Promise<void> {
    await Promise.all(this.#executions.values());
  }
}
