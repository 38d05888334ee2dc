import { afterAll, describe, it } from 'vitest';
import { describeOnGpu } from './device.gpu.js';
import { replay } from './device.random.js';
import { itLeaksNothingInFlight } from './oracle.flights.js';
import { GpuMemories } from './oracle.gpu.js';
import { runPrograms, UNTIMED, type MakeMemory } from './oracle.program.js';
import { itKeepsEveryToken } from './oracle.scenarios.js';

await describeOnGpu('the payload oracle over memory on a GPU', (device) => {
  describe.each(['kernel', 'copies'] as const)('that moves blocks by %s', (moves) => {
    // Staging buffers so small that larger transfers take several pieces.
    const memories = new GpuMemories(device, { moves, stagingBytes: 5000 });
    const make: MakeMemory = (kv) => memories.get(kv);
    afterAll(() => {
      memories[Symbol.dispose]();
    });

    it(
      `finds every sequence's keys and values after any operations (${replay})`,
      UNTIMED,
      async () => {
        await runPrograms(`GPU ${moves}`, 10_000, make, 3);
      },
    );

    itKeepsEveryToken(make);
    itLeaksNothingInFlight(make);
  });
});
