import { expect, it } from 'vitest';
import { WebGpuAttention, type WebGpuAttentionOptions } from '../src/attention/webgpu.js';
import { WebGpuCache } from '../src/device/webgpu.js';
import type { DType } from '../src/plan.js';
import { AttentionCase, LAYER, type CaseShape } from './attention.cases.js';
import { attend, Engine, TOLERANCE } from './attention.engine.js';
import { relativeL2 } from './attention.naive.js';
import { modelLayout, oddLayout } from './device.fakes.js';
import { countCreations, describeOnGpu } from './device.gpu.js';

const SMALL: CaseShape = {
  headDim: 16,
  kvHeads: 2,
  queryHeads: 4,
  blockSize: 8,
  dtype: 'f32',
  sequences: [
    [30, 3],
    [20, 1],
    [0, 9],
  ],
};

await describeOnGpu('attention on a GPU', (device) => {
  it('reads blocks that sequences share, and writes none of a token without a slot', async () => {
    const paged = new AttentionCase(SMALL);
    paged.share(0, 1, 2);
    expect([...paged.before.groups[0]!.slotMapping]).toContain(-1);
    using engine = await Engine.create(device, paged);
    expect(relativeL2(await attend(engine, paged), paged.expected)).toBeLessThan(1e-5);
  });

  it('handles heads of odd length', async () => {
    const paged = new AttentionCase({ ...SMALL, headDim: 5 });
    using engine = await Engine.create(device, paged);
    expect(relativeL2(await attend(engine, paged), paged.expected)).toBeLessThan(1e-5);
  });

  it.each([
    ['f16', 'f32'],
    ['f32', 'f16'],
  ] as const)('converts: memory in %s, activations in %s', async (dtype, activations) => {
    const paged = new AttentionCase({ ...SMALL, dtype });
    using engine = await Engine.create(device, paged, { activations });
    const output = await attend(engine, paged);
    expect(relativeL2(output, paged.expected)).toBeLessThan(TOLERANCE.f16);
  });

  it('holds out against scores that would overflow without the running maximum', async () => {
    const paged = new AttentionCase({ ...SMALL, sequences: [[400, 2]] });
    for (const sequence of paged.sequences)
      sequence.query.forEach((q, i, all) => (all[i] = q * 60));
    using engine = await Engine.create(device, paged);
    expect(relativeL2(await attend(engine, paged), paged.expected)).toBeLessThan(1e-4);
  });

  it('follows tables that grow, and tells ranges of one buffer apart', async () => {
    const paged = new AttentionCase({ ...SMALL, sequences: [[1500, 1]] });
    using engine = await Engine.create(device, paged);
    const fresh = [engine.upload(paged.fresh('key')), engine.upload(paged.fresh('value'))] as const;
    const query = engine.upload(paged.query);
    const outputs = engine.upload(new Float32Array(512));
    const size = paged.query.byteLength;
    const first = { ...outputs, size };
    const second = { ...outputs, offset: outputs.offset + 1024, size };
    // The token of the step alone first, so that everything is bound before the tables grow.
    await engine.run(paged.step, (pass, attention) => {
      attention.encodeWrite(pass, LAYER, ...fresh);
      attention.encodeAttend(pass, LAYER, query, first);
    });
    const past = [engine.upload(paged.past('key')), engine.upload(paged.past('value'))] as const;
    await engine.run(paged.before, (pass, attention) => {
      attention.encodeWrite(pass, LAYER, ...past);
    });
    await engine.run(paged.step, (pass, attention) => {
      attention.encodeAttend(pass, LAYER, query, second);
    });
    expect(relativeL2(await engine.download(first), paged.expected)).not.toBeLessThan(1);
    expect(relativeL2(await engine.download(second), paged.expected)).toBeLessThan(1e-5);
  });

  it('makes neither buffers nor bind groups in a decode loop', async () => {
    const paged = new AttentionCase({ ...SMALL, sequences: [[30, 1]] });
    using engine = await Engine.create(device, paged);
    const [key, value] = [engine.upload(paged.fresh('key')), engine.upload(paged.fresh('value'))];
    const query = engine.upload(paged.query);
    const output = engine.upload(new Float32Array(paged.query.length));
    const decode = (pass: GPUComputePassEncoder, attention: WebGpuAttention): void => {
      attention.encodeWrite(pass, LAYER, key, value);
      attention.encodeAttend(pass, LAYER, query, output);
    };
    await engine.run(paged.step, decode);
    using made = countCreations(device);
    for (let step = 0; step < 10; step++) await engine.run(paged.step, decode);
    expect(made.count).toBe(0);
  });

  it.each([
    ['a misspelling', { queryHeads: 2, activation: 'f16' }, 'UNKNOWN_OPTION'],
    ['an unknown element type', { queryHeads: 2, activations: 'f61' }, 'INVALID_OPTION'],
    ['a scale that is no number', { queryHeads: 2, scale: NaN }, 'INVALID_OPTION'],
  ])('refuses %s', async (_, options, code) => {
    const model = { layers: 1, kvHeads: 2, headDim: 8, dtype: 'f32' } as const;
    const layout = modelLayout(model, { blockSize: 4, deviceBlocks: 2 });
    using cache = await WebGpuCache.create(device, { layout });
    const create = WebGpuAttention.create(cache, options as WebGpuAttentionOptions);
    await expect(create).rejects.toEqual(expect.objectContaining({ code }));
  });

  it('refuses shapes that the kernels do not support', async () => {
    const cacheOf = (headDim: number, dtype: DType): Promise<WebGpuCache> => {
      const model = { layers: 1, kvHeads: 2, headDim, dtype };
      const layout = modelLayout(model, { blockSize: 4, deviceBlocks: 2 });
      return WebGpuCache.create(device, { layout });
    };
    const shape = expect.objectContaining({ code: 'ATTENTION_SHAPE' });
    using cache = await cacheOf(8, 'f32');
    await expect(WebGpuAttention.create(cache, { queryHeads: 5 })).rejects.toEqual(shape);
    using long = await cacheOf(516, 'f32');
    await expect(WebGpuAttention.create(long, { queryHeads: 2 })).rejects.toEqual(shape);
    using odd = await cacheOf(7, 'f16');
    await expect(WebGpuAttention.create(odd, { queryHeads: 2 })).rejects.toEqual(shape);
    const layout = oddLayout({ blockSize: 4, deviceBlocks: 2 });
    using bare = await WebGpuCache.create(device, { layout });
    const noModel = expect.objectContaining({ code: 'NO_MODEL' });
    await expect(WebGpuAttention.create(bare, { queryHeads: 2 })).rejects.toEqual(noModel);
  });
});
