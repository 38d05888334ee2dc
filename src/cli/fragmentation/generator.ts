/** Requests with the lengths that were published for ShareGPT, for when there is no file. */
import { totalTokens, type Lengths } from './lengths.js';

/**
 * The PagedAttention paper's figure 11 gives the means of its ShareGPT sample: 161.31 tokens in, 337.99 out.
 * The spread of the outputs follows from its figure 2: requests that run for as many passes as they have
 * output tokens hold, on average over passes, slots that they fill later for E[out²] / 2E[out] tokens, and
 * these are 13.3% of 15,700 slots with 7 requests running. That makes a standard deviation of 0.88 means, as a
 * Weibull distribution of this shape has. That of the inputs is as in ShareGPT's first turns of up to 1,024
 * tokens: 1.0 on the logarithmic scale.
 */
const OUTPUT = { scale: 358, shape: 1.145 };
const INPUT = { logMean: 4.62, logDeviation: 1 };

/** The same for the same seed. Requests longer than `maxLength` are drawn again. O(count). */
export function generateLengths(
  count: number,
  seed: number,
  maxLength: number,
): readonly Lengths[] {
  const random = new Xorshift(seed);
  const requests: Lengths[] = [];
  while (requests.length < count) {
    const request = { inputTokens: drawInput(random), outputTokens: drawOutput(random) };
    if (totalTokens(request) <= maxLength) requests.push(request);
  }
  return requests;
}

/** Log-normal, by Box and Muller (1958). */
function drawInput(random: Xorshift): number {
  const radius = Math.sqrt(-2 * Math.log(random.next()));
  const normal = radius * Math.cos(2 * Math.PI * random.next());
  return atLeastOne(Math.exp(INPUT.logMean + INPUT.logDeviation * normal));
}

/** Weibull, by inverting its distribution function. */
function drawOutput(random: Xorshift): number {
  return atLeastOne(OUTPUT.scale * (-Math.log(random.next())) ** (1 / OUTPUT.shape));
}

function atLeastOne(tokens: number): number {
  return Math.max(1, Math.round(tokens));
}

/** 32 bits of state; after Marsaglia (2003). */
class Xorshift {
  #state: number;

  constructor(seed: number) {
    // Odd multiples spread neighbouring seeds; 0 would stay 0.
    this.#state = Math.imul(seed, 0x9e3779b1) ^ 0x2545f491 || 1;
    for (let i = 0; i < 16; i++) this.next();
  }

  /** Above 0, up to 1. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return ((x >>> 0) + 1) / 2 ** 32;
  }
}
