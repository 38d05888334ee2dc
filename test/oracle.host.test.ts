import { describe, it } from 'vitest';
import { replay } from './device.random.js';
import { HostMemory } from './oracle.memory.js';
import { runPrograms, UNTIMED, type MakeMemory } from './oracle.program.js';
import { itKeepsEveryToken } from './oracle.scenarios.js';

describe('the payload oracle over host memory', () => {
  const make: MakeMemory = (kv) => Promise.resolve(new HostMemory(kv));

  it(
    `finds every sequence's keys and values after any operations (${replay})`,
    UNTIMED,
    async () => {
      await runPrograms('host', 80_000, make);
    },
  );

  itKeepsEveryToken(make);
});
