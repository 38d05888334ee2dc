/** Prompts that nobody has seen: opened, scheduled in one chunk, committed and indexed. */
import { expect, type Case, type Prepared } from '../case.js';
import { BLOCK_SIZE, newManager, newPrompt, schedule } from '../engine.js';
import { copyOnce } from '../yardsticks.js';

const TOKENS = 32768;
const BLOCKS = TOKENS / BLOCK_SIZE;

export const computedCases: readonly Case[] = [
  {
    name: 'open, schedule, commit 32,768 new tokens',
    target: 200,
    yardstick: 'copy its tokens once',
    prepare: () => computing(2 * BLOCKS, 0),
  },
  {
    name: 'open, schedule, commit 32,768 new tokens, all evict',
    yardstick: 'copy its tokens once',
    prepare: () => computing(4 * BLOCKS, 4),
  },
];

/** A pool that is cleared after every round, or one that holds the last `kept` prompts and is full. */
function computing(blocks: number, kept: number): Prepared {
  const kv = newManager({ blocks, sequences: 4, sequenceTokens: TOKENS, batchTokens: TOKENS });
  const batch = kv.batch();
  const prompt = newPrompt(TOKENS, 0);
  let rounds = 0;
  return {
    operation: {
      before: () => {
        rounds += 1;
        prompt[0] = rounds;
      },
      run: () => {
        const sequence = kv.open(prompt);
        batch.clear();
        batch.add(sequence, prompt);
        const step = schedule(kv, batch);
        const slots = step.attention.groups[0]!.slotMapping;
        const slotsSeen = slots.length + slots[TOKENS - 1]! - slots[TOKENS - BLOCK_SIZE]!;
        step.commit();
        const { length } = sequence;
        sequence.close();
        return slotsSeen + length;
      },
      after: (answer) => {
        expect(answer, 2 * TOKENS + BLOCK_SIZE - 1, 'tokens in slots and in the sequence');
        if (kept === 0) kv.clear();
      },
    },
    yardstick: copyOnce(prompt),
    finish: () => {
      const { cached } = kv.stats().device;
      expect(cached, kept * BLOCKS, 'cached blocks');
      kv.validate();
      kv.close();
    },
  };
}
