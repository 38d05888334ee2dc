/** What is made to go wrong on purpose: pieces of transfers that fail at random, and steps that are aborted. */
import type { Intercept } from '../../src/device/host.js';
import { PagedKvError } from '../../src/index.js';
import { keyOf, uniform } from './random.js';

class MadeToFail extends Error {}

/** Whether an execution failed because this file let it, or on top of one that did. */
export function isMeant(error: unknown): boolean {
  if (error instanceof MadeToFail) return true;
  return error instanceof PagedKvError && error.code === 'STEP_FAILED';
}

/** Lets a share of the pieces of transfers fail. */
export class FailingPieces {
  pieces = 0;
  failed = 0;
  readonly #share: number;
  readonly #key: number;

  constructor(share: number, seed: number) {
    this.#share = share;
    this.#key = keyOf(seed, 0xfa11);
  }

  readonly intercept: Intercept = () => {
    if (uniform(this.#key, this.pieces++) >= this.#share) return;
    this.failed++;
    throw new MadeToFail('made to fail');
  };
}

/** Aborts are spread evenly, and fall before and after the execution in turns. `every`: 0 for none. */
export function abortOf(
  step: number,
  every: number,
): 'before execute' | 'after execute' | undefined {
  if (every === 0 || step % every !== 0) return undefined;
  return (step / every) % 2 === 0 ? 'before execute' : 'after execute';
}
