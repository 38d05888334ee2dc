/** Prompts that are in memory already: what it takes to open them, and to look them up. */
import type { KvCacheManager, Sequence } from 'pagedkv';
import { expect, type Case, type Prepared } from '../case.js';
import { BLOCK_SIZE, computePrompts, newManager, newPrompt, readTable } from '../engine.js';
import { TokenPool } from '../yardsticks.js';

const COMPARE = 'compare its tokens once through its block table';
const LONG = 32768;
/** Prompts of the cold pool: a million blocks. */
const MANY = 500;
/** Prompts that are computed together, so that their blocks lie interleaved. */
const TOGETHER = 10;

export const cachedCases: readonly Case[] = [
  {
    name: 'open 32,768 cached tokens, warm',
    target: 40,
    goal: 18,
    yardstick: COMPARE,
    prepare: () => opening(new CachedPrompts(1, LONG)),
  },
  {
    name: 'open 32,768 cached tokens, cold, one of 500 such prompts',
    target: 40,
    goal: 18,
    yardstick: `${COMPARE}, cold`,
    prepare: () => opening(new CachedPrompts(MANY, LONG)),
  },
  {
    name: 'open 8,192 cached tokens',
    yardstick: COMPARE,
    prepare: () => opening(new CachedPrompts(1, 8192)),
  },
  {
    name: 'open 1,024 cached tokens',
    yardstick: COMPARE,
    prepare: () => opening(new CachedPrompts(1, 1024)),
  },
  {
    name: 'look up 32,768 cached tokens',
    yardstick: COMPARE,
    prepare: () => lookingUp(new CachedPrompts(1, LONG)),
  },
];

/** Prompts of one length that were computed and closed, and a copy of their tokens for the yardstick. */
class CachedPrompts {
  readonly kv: KvCacheManager;
  /** The one that is asked for next; in the processor's caches, as one is that a tokenizer has just made. */
  readonly prompt: Uint32Array;
  readonly blocks: number;
  readonly pool: TokenPool;
  readonly #all: readonly Uint32Array[];
  readonly #tables: readonly Int32Array[];
  #next = 0;

  constructor(prompts: number, length: number) {
    this.blocks = length / BLOCK_SIZE;
    const blocks = prompts * this.blocks + 64;
    const sequences = TOGETHER + 1;
    // A token more than a prompt has, for the step that shows its table.
    const sequenceTokens = length + 1;
    this.kv = newManager({ blocks, sequences, sequenceTokens, batchTokens: 8192 });
    this.pool = new TokenPool(blocks, length);
    this.prompt = new Uint32Array(length);
    this.#all = Array.from({ length: prompts }, (_, seed) => newPrompt(length, seed));
    this.#tables = this.#compute();
    this.#all.forEach((prompt, i) => this.pool.store(prompt, this.#tables[i]!));
    this.takeNext();
  }

  /** Goes through the prompts in an order that no prefetcher knows. */
  takeNext(): void {
    const all = this.#all;
    if (all.length === 1 && this.prompt[1] === all[0]![1]) return;
    this.#next = (this.#next + 181) % all.length;
    const prompt = all[this.#next]!;
    this.prompt.set(prompt);
    this.pool.present(prompt, this.#tables[this.#next]!);
  }

  #compute(): Int32Array[] {
    const { kv } = this;
    const batch = kv.batch();
    const tables: Int32Array[] = [];
    for (let begin = 0; begin < this.#all.length; begin += TOGETHER) {
      const some = this.#all.slice(begin, begin + TOGETHER);
      const sequences = computePrompts(kv, batch, some, 8192);
      for (const sequence of sequences) {
        tables.push(readTable(kv, sequence));
        sequence.close();
      }
    }
    return tables;
  }
}

function opening(cached: CachedPrompts): Prepared {
  const { kv, prompt } = cached;
  let sequence: Sequence;
  return {
    operation: {
      before: () => cached.takeNext(),
      run: () => {
        sequence = kv.open(prompt);
        return sequence.cachedTokens;
      },
      after: (cachedTokens) => {
        sequence.close();
        // The last token is never found: its logits are wanted.
        expect(cachedTokens, prompt.length - 1, 'cached tokens');
      },
    },
    yardstick: comparing(cached),
    finish: () => finish(cached),
  };
}

function lookingUp(cached: CachedPrompts): Prepared {
  const { kv, prompt } = cached;
  return {
    operation: {
      run: () => kv.lookup(prompt).device,
      after: (found) => expect(found, prompt.length - 1, 'tokens on the device'),
    },
    yardstick: comparing(cached),
    finish: () => finish(cached),
  };
}

function comparing(cached: CachedPrompts) {
  return {
    before: () => cached.takeNext(),
    run: () => cached.pool.compare(cached.blocks),
    after: (agreed: number) => expect(agreed, cached.blocks, 'blocks that agree'),
  };
}

function finish({ kv }: CachedPrompts): void {
  expect(kv.stats().evictions, 0, 'evictions');
  kv.validate();
  kv.close();
}
