/** Random traces, and what LRU makes of them by its plain definition. */
import type { Random } from './device.random.js';
import { oneIn } from './oracle.random.js';

/** Of one request: the ids of its prompt's blocks, of its output's, and the tokens of the prompt. */
export interface TraceRequest {
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly inputTokens: number;
}

export interface RandomTrace {
  readonly blockSize: number;
  /** Distinct. */
  readonly blocks: number;
  readonly requests: readonly TraceRequest[];
}

export interface LruCounts {
  readonly hitBlocks: number;
  readonly hitTokens: number;
  readonly evictions: number;
}

/** Chains that branch off one another anywhere, with ids in no order; outputs may come again, too. */
export function randomTrace(random: Random): RandomTrace {
  const tree = new RandomTree(random);
  const blockSize = random.integer(1, 8);
  const longest = random.integer(1, 30);
  const requests = Array.from({ length: random.integer(1, 200) }, (_, i) => {
    const chain = tree.chain(random.integer(i === 0 ? 1 : 0, longest));
    const prompt = random.integer(0, chain.length);
    // The last block may stand for a part, and a part may be left out.
    const fewest = Math.max(0, (prompt - 1) * blockSize + 1);
    const inputTokens = random.integer(fewest, (prompt + 1) * blockSize - 1);
    return { input: chain.slice(0, prompt), output: chain.slice(prompt), inputTokens };
  });
  return { blockSize, blocks: tree.blocks, requests };
}

/** As JSON values, one a line. */
export function toLines({ blockSize, blocks, requests }: RandomTrace): readonly unknown[] {
  const header = { block: blockSize, requests: requests.length, blocks, name: 'random' };
  const lines = requests.map(({ input, output, inputTokens }, i) => ({
    t: i,
    in: inputTokens,
    out: output.length * blockSize,
    h: toRanges(input),
    ...(output.length > 0 ? { o: toRanges(output) } : {}),
  }));
  return [{ header }, ...lines];
}

/** A cache of `capacity` blocks in which a request's blocks are used last to first, once it has all of them. */
export function lru({ requests, blockSize }: RandomTrace, capacity: number): LruCounts {
  // The least recently used is the first.
  const cached = new Set<number>();
  const counts = { hitBlocks: 0, hitTokens: 0, evictions: 0 };
  for (const { input, output, inputTokens } of requests) {
    const chain = [...input, ...output].slice(0, capacity);
    const prompt = input.slice(0, capacity);
    const missed = prompt.findIndex((id) => !cached.has(id));
    const found = missed === -1 ? prompt.length : missed;
    counts.hitBlocks += found;
    counts.hitTokens += Math.min(found * blockSize, inputTokens);
    const held = new Set(chain);
    let room = capacity - cached.size - chain.filter((id) => !cached.has(id)).length;
    for (const id of cached) {
      if (room >= 0) break;
      if (held.has(id)) continue;
      cached.delete(id);
      counts.evictions += 1;
      room += 1;
    }
    for (const id of chain.reverse()) {
      cached.delete(id);
      cached.add(id);
    }
  }
  return counts;
}

class RandomTree {
  blocks = 0;
  readonly #random: Random;
  readonly #children = new Map<number, number[]>([[-1, []]]);
  readonly #spread: number;
  readonly #chances: number;

  constructor(random: Random) {
    this.#random = random;
    this.#spread = random.pick([1, 3, 2 ** 25]);
    this.#chances = random.integer(2, 12);
  }

  chain(length: number): readonly number[] {
    const chain: number[] = [];
    for (let above = -1; chain.length < length;) {
      above = this.#below(above);
      chain.push(above);
    }
    return chain;
  }

  /** One in so many times a new block, else one that was there before. */
  #below(above: number): number {
    const children = this.#children.get(above)!;
    if (children.length > 0 && !oneIn(this.#random, this.#chances)) {
      return this.#random.pick(children);
    }
    const id = this.blocks++ * this.#spread;
    children.push(id);
    this.#children.set(id, []);
    return id;
  }
}

function toRanges(ids: readonly number[]): readonly (readonly [number, number])[] {
  const ranges: [number, number][] = [];
  for (const id of ids) {
    const last = ranges.at(-1);
    if (last !== undefined && last[0] + last[1] === id) last[1] += 1;
    else ranges.push([id, 1]);
  }
  return ranges;
}
