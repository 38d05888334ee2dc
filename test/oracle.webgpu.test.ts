import { describe, it } from 'vitest';
import { describeOnGpu } from './device.gpu.js';
import { replay } from './device.random.js';
import { GpuMemory } from './oracle.gpu.js';
import { runPrograms, type MakeMemory } from './oracle.program.js';
import { itKeepsEveryToken } from './oracle.scenarios.js';

await describeOnGpu('the payload oracle over memory on a GPU', (device) => {
  describe.each(['kernel', 'copies'] as const)('that moves blocks by %s', (moves) => {
    /** A staging buffer so small that larger transfers take several pieces. */
    const make: MakeMemory = (kv, { maxBatchTokens }) =>
      GpuMemory.create(device, kv, maxBatchTokens, { moves, stagingBytes: 5000 });

    it(`finds every sequence's keys and values after any operations (${replay})`, async () => {
      await runPrograms(`GPU ${moves}`, 2000, make);
    });

    itKeepsEveryToken(make);
  });
});
