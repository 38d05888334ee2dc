/** A chat of many turns: each opens the whole chat so far, and computes what is new. */
import { expect, type Case, type Prepared } from '../case.js';
import { BLOCK_SIZE, newManager, newPrompt, schedule } from '../engine.js';
import { TokenPool } from '../yardsticks.js';

const TURNS = 128;
const TURN_TOKENS = 256;
const TURN_BLOCKS = TURN_TOKENS / BLOCK_SIZE;
const TOKENS = TURNS * TURN_TOKENS;

export const turnCases: readonly Case[] = [
  {
    name: 'chain of 128 turns of 256 tokens: open, schedule, commit, close each',
    target: 1200,
    goal: 700,
    yardstick: "compare each turn's tokens once through the block table",
    prepare: chaining,
  },
];

function chaining(): Prepared {
  const blocks = TOKENS / BLOCK_SIZE;
  const kv = newManager({ blocks, sequences: 2, sequenceTokens: TOKENS, batchTokens: TURN_TOKENS });
  const batch = kv.batch();
  const chat = newPrompt(TOKENS, 0);
  const prompts = Array.from({ length: TURNS }, (_, i) => chat.subarray(0, (i + 1) * TURN_TOKENS));
  const news = prompts.map((prompt) => prompt.subarray(-TURN_TOKENS));
  const pool = new TokenPool(blocks, TOKENS);
  const table = Int32Array.from({ length: blocks }, (_, i) => i);
  pool.store(chat, table);
  pool.present(chat, table);
  return {
    operation: {
      run: () => {
        let found = 0;
        for (let turn = 0; turn < TURNS; turn++) {
          const sequence = kv.open(prompts[turn]!);
          found += sequence.cachedTokens;
          batch.clear();
          batch.add(sequence, news[turn]!);
          schedule(kv, batch).commit();
          sequence.close();
        }
        return found;
      },
      after: (found) => {
        expect(found, (TURN_TOKENS * TURNS * (TURNS - 1)) / 2, 'tokens found');
        kv.clear();
      },
    },
    yardstick: {
      run: () => {
        let agreed = 0;
        for (let turn = 0; turn < TURNS; turn++) agreed += pool.compare(turn * TURN_BLOCKS);
        return agreed;
      },
      after: (agreed) => expect(agreed, (TURN_BLOCKS * TURNS * (TURNS - 1)) / 2, 'blocks'),
    },
    finish: () => {
      kv.validate();
      kv.close();
    },
  };
}
