/** Small configurations in which everything meets soon, and prompts that start alike. */
import type { KeyRange } from '../src/index.js';
import type { Random } from './device.random.js';
import { MAX_BATCH_TOKENS } from './oracle.memory.js';
import { MODEL } from './oracle.payload.js';

export function oneIn(random: Random, chances: number): boolean {
  return random.integer(1, chances) === 1;
}

/** What memory depends on. */
export function randomLayout(random: Random) {
  const blockSize = random.integer(1, oneIn(random, 3) ? 16 : 6);
  const most = oneIn(random, 3) ? 6 : 24;
  const maxBlocks = random.integer(2, 9);
  return {
    model: MODEL,
    blockSize,
    device: { blocks: random.integer(3, most) },
    ...(oneIn(random, 5) ? {} : { host: randomHost(random, most) }),
    maxSequences: random.integer(2, 8),
    maxSequenceTokens: blockSize * maxBlocks - random.integer(0, blockSize - 1),
  };
}

function randomHost(random: Random, most: number) {
  return {
    blocks: random.integer(1, most),
    mode: random.pick(['exclusive', 'inclusive'] as const),
    write: random.pick(['back', 'through', 'second-use'] as const),
  };
}

export type ProgramLayout = ReturnType<typeof randomLayout>;

export function randomLimits(random: Random, layout: ProgramLayout) {
  const { blockSize, maxSequences, maxSequenceTokens } = layout;
  const maxBlocks = Math.ceil(maxSequenceTokens / blockSize);
  return {
    maxBatchSequences: random.integer(1, Math.min(4, maxSequences)),
    maxBatchTokens: random.integer(blockSize, MAX_BATCH_TOKENS),
    maxOpenSteps: random.integer(1, 3),
    maxStepTransfers: oneIn(random, 4) ? maxBlocks : 64,
    minPartialTokens: oneIn(random, 2) ? 1 : random.integer(1, blockSize),
    alwaysWrites: oneIn(random, 4),
    eviction: random.pick(['adaptive', 'lru', 'arc'] as const),
    onboard: random.pick(['auto', 'auto', 'always', 'never'] as const),
  };
}

export type ProgramOptions = ProgramLayout & ReturnType<typeof randomLimits>;

/** Over a small alphabet; more often than not they begin like one that was before. */
export class RandomPrompts {
  readonly #random: Random;
  readonly #options: ProgramLayout;
  readonly #alphabet: number;
  readonly #seen: (readonly number[])[] = [];
  readonly #lists: (readonly KeyRange[])[] = [];

  constructor(random: Random, options: ProgramLayout) {
    this.#random = random;
    this.#options = options;
    this.#alphabet = random.integer(1, 3);
  }

  tokens(count: number): readonly number[] {
    return Array.from({ length: count }, () => this.#random.integer(1, this.#alphabet));
  }

  /** Seldom none, often the same as before, over two keys. */
  nextKeys(): readonly KeyRange[] {
    if (oneIn(this.#random, 3)) return [];
    if (this.#lists.length === 4) return this.#random.pick(this.#lists);
    const { blockSize } = this.#options;
    const from = this.#random.integer(0, 2 * blockSize);
    const to = from + this.#random.integer(1, 2 * blockSize);
    const last = {
      from: to + this.#random.integer(0, 2),
      key: oneIn(this.#random, 2) ? 'x' : 'yy',
    };
    const keys = [{ from, to, key: 'x' }, ...(oneIn(this.#random, 2) ? [last] : [])];
    this.#lists.push(keys);
    return keys;
  }

  next(): readonly number[] {
    const { blockSize, maxSequenceTokens } = this.#options;
    const isNew = this.#seen.length === 0 || oneIn(this.#random, 4);
    const before = isNew ? [] : this.#random.pick(this.#seen);
    const kept = before.slice(0, this.#random.integer(0, before.length));
    const more = this.tokens(this.#random.integer(1, blockSize * 3));
    const prompt = [...kept, ...more].slice(0, maxSequenceTokens);
    if (this.#seen.length < 8) this.#seen.push(prompt);
    else this.#seen[this.#random.integer(0, 7)] = prompt;
    return prompt;
  }
}
