/** The step of 256 decoding sequences. */
import { expect, type Case } from '../case.js';
import { DecodeLoop, STEP_WORDS } from '../decode-loop.js';
import { copyOnce } from '../yardsticks.js';

/** Every so many steps, what a step answered is checked. */
const CHECK_EVERY = 64;

export const decodeCases: readonly Case[] = [
  decodeCase('decode step of 256: fill, schedule, read, commit', false),
  decodeCase('decode step of 256, each new block evicts', true),
];

function decodeCase(name: string, evicts: boolean): Case {
  return {
    name,
    target: 8,
    goal: 5,
    yardstick: 'copy its 10 KiB once',
    prepare: () => {
      const loop = new DecodeLoop(evicts ? 4096 : 0);
      while (evicts && !loop.isAtEnd) loop.step();
      let steps = 0;
      return {
        operation: {
          before: () => {
            if (!loop.isAtEnd) return;
            loop.end();
            if (!evicts) loop.kv.clear();
            loop.begin();
          },
          run: () => loop.step(),
          after: (sum) => {
            steps += 1;
            if (steps % CHECK_EVERY === 0) expect(sum, loop.slotsOfLastStep(), 'sum of slots');
          },
        },
        yardstick: copyOnce(new Uint32Array(STEP_WORDS).fill(1)),
        finish: () => {
          const { device, duplicates } = loop.kv.stats();
          expect(Number(device.free === 0), Number(evicts), 'the pool full');
          expect(duplicates, 0, 'duplicates');
          loop.kv.validate();
          loop.kv.close();
        },
      };
    },
  };
}
