/** A batch of sequences that are decoded together, each a token a step, by an engine that only reads the tables. */
import type { Batch, KvCacheManager, Sequence } from 'pagedkv';
import { BLOCK_SIZE, computePrompts, newManager, newPrompt, schedule } from './engine.js';

const SEQUENCES = 256;
/** Sequences begin with about as many tokens, and are rewound or begun anew once they have as many. */
const SHORTEST = 256;
const LONGEST = 1280;
const BATCH_TOKENS = 8192;

export class DecodeLoop {
  readonly kv: KvCacheManager;
  readonly #batch: Batch;
  #chats: readonly Sequence[] = [];
  /** Of the shortest sequence, since it began. */
  #length = 0;
  /** No two tokens are alike, so that nothing is found in memory. */
  #nextId = 0;

  /** `spare`: blocks beyond those that the sequences may hold at once. */
  constructor(spare: number) {
    const blocks = (SEQUENCES * (LONGEST + 2 * BLOCK_SIZE)) / BLOCK_SIZE + spare;
    const sequenceTokens = LONGEST + 2 * BLOCK_SIZE;
    const shape = { blocks, sequences: SEQUENCES, sequenceTokens, batchTokens: BATCH_TOKENS };
    this.kv = newManager(shape);
    this.#batch = this.kv.batch();
    this.begin();
  }

  get isAtEnd(): boolean {
    return this.#length >= LONGEST;
  }

  /** Opens and computes prompts that were never seen. */
  begin(): void {
    const prompts = Array.from({ length: SEQUENCES }, (_, i) =>
      // Of different lengths, so that as many need a block in one step as in another.
      newPrompt(SHORTEST + BLOCK_SIZE, (this.#nextId += 1)).subarray(
        0,
        SHORTEST + (i % BLOCK_SIZE),
      ),
    );
    this.#chats = prompts.map(
      (prompt) => computePrompts(this.kv, this.#batch, [prompt], BATCH_TOKENS)[0]!,
    );
    this.#length = SHORTEST;
  }

  /** Closes every sequence. */
  end(): void {
    this.#chats.forEach((chat) => chat.close());
  }

  /** Gives back the tails of those that are at their end; half of what they have, some more than others. */
  rewind(): void {
    const chats = this.#chats;
    for (let i = 0; i < chats.length; i++) {
      const chat = chats[i]!;
      if (chat.length >= LONGEST) chat.truncate(SHORTEST + ((i * 37) & 511));
    }
  }

  /** One step. Returns the sum of the slots that its tokens are written to. */
  step(): number {
    const batch = this.#batch;
    batch.clear();
    for (const chat of this.#chats) batch.addToken(chat, (this.#nextId += 1));
    const step = schedule(this.kv, batch);
    const slots = step.attention.groups[0]!.slotMapping;
    let sum = 0;
    for (let i = slots.length; i-- > 0;) sum += slots[i]!;
    step.commit();
    this.#length += 1;
    return sum;
  }

  /** What the step that was just committed must have returned, from the lengths and the block tables. */
  slotsOfLastStep(): number {
    this.#batch.clear();
    for (const chat of this.#chats) this.#batch.add(chat, 1);
    const step = schedule(this.kv, this.#batch);
    const { rows, pastLengths, groups } = step.attention;
    const cells = this.kv.layout.maxBlocksPerSequence;
    let sum = 0;
    rows.forEach((row, i) => {
      const position = pastLengths[i]! - 1;
      const block = groups[0]!.blockTable[row * cells + Math.floor(position / BLOCK_SIZE)]!;
      sum += block * BLOCK_SIZE + (position % BLOCK_SIZE);
    });
    step.abort();
    return sum;
  }
}

/** Words that pass between an engine and the library in a step: entries and ids in, tables out. */
export const STEP_WORDS = SEQUENCES * (4 + 1) + SEQUENCES * 5;
