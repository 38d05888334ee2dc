// Runs a command where WebGPU finds an adapter that has f16:
//
//   node scripts/with-f16.mjs node dist/examples/onnxruntime/main.js
//
// A machine whose own drivers give one is left alone. Elsewhere lavapipe is pointed at, if it was set up.
import { fileURLToPath } from 'node:url';
import { hasAdapter } from '../dist/src/cli/software-vulkan.js';
import { lavapipeEnvironment } from './lavapipe.mjs';
import { runIn } from './with-vulkan.mjs';

/**
 * What to add to a process's environment so that it finds an adapter with f16; undefined where there is none.
 *
 * @returns {Record<string, string> | undefined}
 */
export function f16Environment() {
  const candidates = [{}, lavapipeEnvironment()];
  return candidates.find((extra) => extra && hasAdapter(extra, 'shader-f16'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const environment = f16Environment();
  if (environment) {
    runIn(environment, process.argv.slice(2));
  } else {
    console.error('No WebGPU adapter with f16 here: node examples/onnxruntime/setup.mjs gets one.');
    process.exitCode = 1;
  }
}
