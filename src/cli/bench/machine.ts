/** A machine on a virtual clock: what passes and transfers truly take on it, with noise and drift. */

/** Milliseconds. */
type Duration = number;

export interface MachineSetup {
  /** Tokens that are moved in the time in which one is computed, at the middle of the run. */
  readonly ratio: number;
  /** By how much moving gets slower from the begin of the run to its end; below 1 it gets faster. */
  readonly drift: number;
  /** Of a block. */
  readonly blockTokens: number;
}

/** Of a pass, whatever it computes. */
const PASS_MS = 5;
const TOKEN_MS = 0.1;
/** At this position attention costs as much as everything else: Llama 3 of 8 B parameters. */
const EVEN_POSITION = 30_500;
/** Of a transfer, however small. */
const TRANSFER_MS = 1;
/** Standard deviations of the logarithms. */
const PASS_NOISE = 0.3;
const TRANSFER_NOISE = 0.6;

export class Machine {
  readonly #setup: MachineSetup;

  constructor(setup: MachineSetup) {
    this.#setup = setup;
  }

  /** `random`: what the noise is drawn from, the same for the same event under another choice; undefined: none. */
  prefill(tokens: number, past: number, random: Noise | undefined): Duration {
    const attended = (past + tokens / 2) / EVEN_POSITION;
    return (PASS_MS + tokens * TOKEN_MS * (1 + attended)) * (random?.factor(PASS_NOISE) ?? 1);
  }

  /** `progress`: of the run, from 0 to 1. */
  transfer(blocks: number, progress: number, random: Noise | undefined): Duration {
    const { ratio, drift, blockTokens } = this.#setup;
    const block = (blockTokens * TOKEN_MS) / ratio;
    const slower = drift ** (progress - 0.5);
    return (TRANSFER_MS + blocks * block) * slower * (random?.factor(TRANSFER_NOISE) ?? 1);
  }
}

/** Random numbers of one event of a run. */
export class Noise {
  #state: number;

  constructor(seed: number, event: number) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(event + 1, 0x85ebca6b)) >>> 0;
  }

  /** Lognormal with a mean of 1. `deviation`: of its logarithm. */
  factor(deviation: number): number {
    const normal = Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
    return Math.exp(deviation * normal - (deviation * deviation) / 2);
  }

  /** From 0 up to but not including 1 (after Steele, Lea and Flood's SplitMix, in 32 bits). */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  }
}
