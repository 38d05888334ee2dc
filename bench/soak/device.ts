/** Host memory whose transfers take virtual time, and now and then fail, stall, or are cancelled. */
import { HostCache, type Intercept } from '../../src/device/host.js';
import { PagedKvError, type KvCacheManager } from '../../src/index.js';
import { native } from '../../src/native.js';
import type { Attention, Executable, TransferTimes } from '../../src/plan.js';
import { MOVE_WORDS } from '../../src/words.js';
import type { VirtualClock } from './clock.js';
import type { Dice } from './dice.js';
import type { Digest } from './digest.js';

class MadeToFail extends Error {}

/** Of a piece. */
const FAILS = 0.03;
const STALLS = 0.01;
const STALL_MS = 400;
const PIECE_MS = 0.5;
const BYTES_PER_MS = 32 * 1024;
const NOISE = 0.6;
/** Of an execution. */
const IS_CANCELLED = 0.02;
const MOST_MS_TO_CANCEL = 30;
/** Pieces so small that most transfers take several. */
const PIECE_BYTES = 8 * 1024;

/** One execution. Whether it went well; rejects with what nobody meant to happen. */
export interface Flight {
  readonly submitted: Promise<boolean>;
  readonly ended: Promise<boolean>;
}

export class FlakyDevice {
  readonly cache: HostCache;
  /** That chance has made happen. */
  readonly faults = { failures: 0, stalls: 0, cancellations: 0 };
  /** By executions that ended well, and the pieces of all. */
  readonly moved = { outBlocks: 0, inBlocks: 0, pieces: 0 };
  readonly #clock: VirtualClock;
  readonly #dice: Dice;
  readonly #digest: Digest;
  readonly #underWay = new Set<Promise<boolean>>();

  constructor(kv: KvCacheManager, clock: VirtualClock, dice: Dice, digest: Digest) {
    this.#clock = clock;
    this.#dice = dice;
    this.#digest = digest;
    this.cache = new HostCache(kv, { pieceBytes: PIECE_BYTES, intercept: this.#intercept });
  }

  get isIdle(): boolean {
    return this.#underWay.size === 0;
  }

  execute(work: Executable): Flight {
    const execution = this.cache.execute(this.#timed(work));
    if (this.#dice.chance(IS_CANCELLED)) {
      this.faults.cancellations += 1;
      this.#clock.after(this.#dice.integer(0, MOST_MS_TO_CANCEL), () => {
        execution.cancel();
      });
    }
    const ended = isWell(execution);
    this.#underWay.add(ended);
    ended.then(
      () => this.#underWay.delete(ended),
      () => undefined, // stays, for whoever waits for all
    );
    return { submitted: isWell(execution.submitted), ended };
  }

  async landed(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** The same work, with times of the virtual clock; those of the machine would differ each time. */
  #timed(work: Executable): Executable {
    const { moves, attention } = work;
    const outBlocks = moves.offloads.length / MOVE_WORDS;
    const inBlocks = moves.onboards.length / MOVE_WORDS;
    // Which blocks these are depends on the manager's own seed, as what is cleared goes in an order of its own.
    this.#digest.add(outBlocks, inBlocks, moves.copies.length);
    let begin_ms = 0;
    return {
      moves,
      ...presentOf(attention),
      beginExecute: () => {
        work.beginExecute();
        begin_ms = this.#clock.now_ms;
      },
      endExecute: (ok) => {
        const milliseconds = this.#clock.now_ms - begin_ms;
        this.#digest.add(milliseconds, ok ? 1 : 0);
        this.moved.outBlocks += ok ? outBlocks : 0;
        this.moved.inBlocks += ok ? inBlocks : 0;
        work.endExecute(ok, timesOf(outBlocks, inBlocks, milliseconds));
      },
    };
  }

  readonly #intercept: Intercept = async ({ bytes }) => {
    const dice = this.#dice;
    const stalls = dice.chance(STALLS);
    this.moved.pieces += 1;
    this.faults.stalls += stalls ? 1 : 0;
    const usual = (PIECE_MS + bytes / BYTES_PER_MS) * dice.factor(NOISE);
    const fails = dice.chance(FAILS);
    await this.#clock.sleep(stalls ? usual + STALL_MS : usual);
    if (!fails) return;
    this.faults.failures += 1;
    throw new MadeToFail('made to fail');
  };
}

/** Waits until what native threads were given has been done and told, and nothing follows from it any more. */
export async function settle(): Promise<void> {
  await turn();
  native.drainMoves();
  await turn();
}

/** Of the event loop. */
function turn(): Promise<void> {
  return new Promise((resume) => setImmediate(resume));
}

function presentOf(attention: Attention | undefined): { attention?: Attention } {
  return attention === undefined ? {} : { attention };
}

/** Who moves both ways is not reported: which of them took how long is not known. */
function timesOf(outBlocks: number, inBlocks: number, milliseconds: number): TransferTimes {
  if (outBlocks > 0 && inBlocks === 0) return { offload: milliseconds };
  return inBlocks > 0 && outBlocks === 0 ? { onboard: milliseconds } : {};
}

async function isWell(promise: Promise<void>): Promise<boolean> {
  try {
    await promise;
    return true;
  } catch (error) {
    if (error instanceof MadeToFail || isIntended(error)) return false;
    throw error;
  }
}

/** Cancelled, on top of what failed, or behind what was cancelled before its turn. */
const INTENDED: readonly string[] = ['EXECUTION_CANCELLED', 'STEP_FAILED', 'STEP_OUT_OF_ORDER'];

function isIntended(error: unknown): boolean {
  return error instanceof PagedKvError && INTENDED.includes(error.code);
}
