import { defineConfig } from 'vitest/config';
import { vulkanEnvironment } from './scripts/with-vulkan.mjs';

// The test processes inherit it: a driver's libraries are looked up when a process starts.
Object.assign(process.env, vulkanEnvironment());

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // A process per file: Dawn keeps process-wide state. Tests of lifetimes call gc().
    pool: 'forks',
    execArgv: ['--expose-gc'],
    testTimeout: 60_000,
  },
});
