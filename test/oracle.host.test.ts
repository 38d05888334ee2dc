import { describe, it } from 'vitest';
import { replay } from './device.random.js';
import { itLeaksNothingInFlight } from './oracle.flights.js';
import { HostMemory } from './oracle.memory.js';
import { runPrograms, UNTIMED, type MakeMemory } from './oracle.program.js';
import { itKeepsEveryToken } from './oracle.scenarios.js';

describe.each([
  ['at once', 20_000],
  ['by threads', 20_000],
  ['with faults', 40_000],
] as const)('the payload oracle over host memory whose blocks move %s', (how, operations) => {
  const make: MakeMemory = (kv) => Promise.resolve(new HostMemory(kv, how));

  it(
    `finds every sequence's keys and values after any operations (${replay})`,
    UNTIMED,
    async () => {
      await runPrograms(`host ${how}`, operations, make);
    },
  );

  itKeepsEveryToken(make);
  if (how === 'with faults') itLeaksNothingInFlight(make);
});
