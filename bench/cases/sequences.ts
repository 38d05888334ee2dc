/** What a long sequence costs beside its steps: fork, truncate, close. */
import type { Sequence } from 'pagedkv';
import { expect, type Case, type Prepared } from '../case.js';
import { BLOCK_SIZE, computePrompts, newManager, newPrompt, schedule } from '../engine.js';
import { copyOnce } from '../yardsticks.js';

const TOKENS = 32768;
const ROOM = 1024;
const SHAPE = { blocks: 8192, sequences: 4, sequenceTokens: TOKENS + ROOM, batchTokens: 8192 };
const ROW = 'copy its row of the block table once';
/** Tokens that a draft model proposes, and that are given back. */
const REJECTED = 5;

export const sequenceCases: readonly Case[] = [
  { name: 'fork 32,768 tokens', target: 8, goal: 1, yardstick: ROW, prepare: forking },
  {
    name: 'truncate 32,768 tokens by 5',
    target: 1,
    yardstick: "copy a block's tokens once",
    prepare: truncating,
  },
  { name: 'close 32,768 tokens', target: 10, goal: 2, yardstick: ROW, prepare: closing },
  { name: 'close 32,768 tokens held by a fork', yardstick: ROW, prepare: closingFork },
];

function openLong() {
  const kv = newManager(SHAPE);
  const batch = kv.batch();
  const prompt = newPrompt(TOKENS, 0);
  const chat = computePrompts(kv, batch, [prompt], SHAPE.batchTokens)[0]!;
  const finish = () => {
    kv.validate();
    kv.close();
  };
  return { kv, batch, prompt, chat, finish };
}

/** Cells of the block table, as words. */
function row(): Uint32Array {
  return newPrompt(TOKENS / BLOCK_SIZE, 0);
}

function forking(): Prepared {
  const { chat, finish } = openLong();
  let fork: Sequence;
  return {
    operation: {
      run: () => {
        fork = chat.fork();
        return fork.length;
      },
      after: (length) => {
        fork.close();
        expect(length, TOKENS, "the fork's tokens");
      },
    },
    yardstick: copyOnce(row()),
    finish,
  };
}

/** Speculative decoding: of six tokens computed, one is kept. */
function truncating(): Prepared {
  const { kv, batch, chat, finish } = openLong();
  const draft = new Uint32Array(REJECTED + 1);
  let nextId = 0;
  let length = TOKENS;
  return {
    operation: {
      before: () => {
        if (length + 2 * REJECTED > TOKENS + ROOM) chat.truncate(TOKENS);
        for (let i = 0; i < draft.length; i++) draft[i] = nextId += 1;
        batch.clear();
        batch.add(chat, draft);
        schedule(kv, batch).commit();
        length = chat.length - REJECTED;
      },
      run: () => {
        chat.truncate(length);
        return chat.length;
      },
      after: (left) => expect(left, length, 'tokens left'),
    },
    yardstick: copyOnce(newPrompt(BLOCK_SIZE, 0)),
    finish,
  };
}

function closing(): Prepared {
  const { kv, chat, prompt, finish } = openLong();
  chat.close();
  let sequence: Sequence;
  return {
    operation: {
      before: () => {
        sequence = kv.open(prompt);
      },
      run: () => {
        sequence.close();
        return Number(sequence.state === 'closed');
      },
      after: (isClosed) => expect(isClosed, 1, 'closed'),
    },
    yardstick: copyOnce(row()),
    finish,
  };
}

function closingFork(): Prepared {
  const { chat, finish } = openLong();
  let fork: Sequence;
  return {
    operation: {
      before: () => {
        fork = chat.fork();
      },
      run: () => {
        fork.close();
        return Number(fork.state === 'closed');
      },
      after: (isClosed) => expect(isClosed, 1, 'closed'),
    },
    yardstick: copyOnce(row()),
    finish,
  };
}
