import { globals } from 'webgpu';
import { describe, expect, it } from 'vitest';
import { smallModel, type ModelConfig } from '../examples/chat/model/config.js';
import type { ContiguousEngine } from '../examples/chat/model/engine.js';
import { GpuContiguousEngine } from '../examples/chat/model/gpu-contiguous.js';
import { HostContiguousEngine } from '../examples/chat/model/host-contiguous.js';
import { seededWeights } from '../examples/chat/model/weights.js';
import { naiveLogits } from './chat.naive.js';
import { describeOnGpu } from './device.gpu.js';

Object.assign(globalThis, globals);

const config: ModelConfig = {
  ...smallModel,
  layers: 2,
  hidden: 20,
  heads: 6,
  kvHeads: 2,
  headDim: 12,
  inner: 28,
};
const weights = seededWeights(config, 11);
const limits = { passTokens: 200, passSequences: 3, sequenceTokens: 200 };
const ids = Array.from({ length: 150 }, (_, i) => (i * 37 + (i % 7)) & 255);

/** The logits after the last id, computed in passes of at most `chunk` tokens, in lane 1 of 2. */
async function logitsOf(engine: ContiguousEngine, chunk: number): Promise<Float32Array> {
  let logits = new Float32Array();
  for (let start = 0; start < ids.length; start += chunk) {
    const part = ids.slice(start, start + chunk);
    const pass = {
      ids: Uint32Array.from(part),
      positions: Uint32Array.from(part, (_, i) => start + i),
      wanted: Uint32Array.of(part.length - 1),
    };
    const all = await engine.forward(pass, new Uint32Array(part.length).fill(1));
    logits = all.slice(0, config.vocabulary);
  }
  return logits;
}

function behavesAsALlama(make: () => ContiguousEngine): void {
  it('computes what the formulas say', async () => {
    const engine = make();
    const logits = await logitsOf(engine, 200);
    naiveLogits(config, weights, ids).forEach((expected, i) => {
      expect(Math.abs(logits[i]! - expected)).toBeLessThan(1e-3);
    });
    engine.destroy();
  });

  it('gives the same bits however a prompt is cut', async () => {
    const engine = make();
    const whole = await logitsOf(engine, 200);
    expect(await logitsOf(engine, 7)).toEqual(whole);
    expect(await logitsOf(engine, 64)).toEqual(whole);
    engine.destroy();
  });
}

describe('the model on the host', () => {
  behavesAsALlama(() => new HostContiguousEngine(config, weights, limits, 2));
});

await describeOnGpu('the model on a GPU', (device) => {
  behavesAsALlama(() => new GpuContiguousEngine(device, config, weights, limits, 2));
});
