import { describe, expect, it } from 'vitest';
import { fromHalf, toHalf } from '../src/attention/half.js';
import { WebGpuAttention, type WebGpuAttentionOptions } from '../src/attention/webgpu.js';
import { poisonBlocks, WebGpuCache } from '../src/device/webgpu.js';
import type { Attention, DType } from '../src/plan.js';
import { AttentionCase, LAYER, nameOf, shapes, type CaseShape } from './attention.cases.js';
import { relativeL2 } from './attention.naive.js';
import { FakeWork, modelLayout, oddLayout } from './device.fakes.js';
import { countCreations, describeOnGpu, download } from './device.gpu.js';
import { Random, replay } from './device.random.js';

const TOLERANCE = { f32: 1e-5, f16: 2e-3 };
const STORAGE = 0x0080 | 0x0008 | 0x0004;

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

/** An engine with one layer: buffers for its activations, and passes that write and attend. */
class Engine implements Disposable {
  readonly #device: GPUDevice;
  readonly #cache: WebGpuCache;
  readonly #attention: WebGpuAttention;
  readonly #buffers: GPUBuffer[] = [];

  static async create(
    device: GPUDevice,
    paged: AttentionCase,
    options: Partial<WebGpuAttentionOptions> = {},
  ): Promise<Engine> {
    const cache = await WebGpuCache.create(device, paged);
    await poisonBlocks(cache, 0);
    const { queryHeads } = paged.shape;
    return new Engine(cache, await WebGpuAttention.create(cache, { queryHeads, ...options }));
  }

  private constructor(cache: WebGpuCache, attention: WebGpuAttention) {
    this.#device = cache.device;
    this.#cache = cache;
    this.#attention = attention;
  }

  /** Activations in their own element type, behind an offset so that ignoring it shows. */
  upload(values: Float32Array<ArrayBuffer>): Required<GPUBufferBinding> {
    const data = this.#attention.activations === 'f32' ? values : Uint16Array.from(values, toHalf);
    const size = Math.max(16, Math.ceil(data.byteLength / 4) * 4);
    const buffer = this.#device.createBuffer({ size: size + 256, usage: STORAGE });
    this.#buffers.push(buffer);
    const padded = new Uint8Array(size);
    padded.set(new Uint8Array(data.buffer));
    this.#device.queue.writeBuffer(buffer, 256, padded);
    return { buffer, offset: 256, size };
  }

  async run(
    step: Attention,
    encode: (pass: GPUComputePassEncoder, attention: WebGpuAttention) => void,
  ): Promise<void> {
    await this.#cache.execute(new FakeWork({}, step));
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    encode(pass, this.#attention);
    pass.end();
    this.#device.queue.submit([encoder.finish()]);
  }

  async download({ buffer, offset, size }: Required<GPUBufferBinding>): Promise<Float32Array> {
    const bytes = await download(this.#device, buffer, offset, size);
    if (this.#attention.activations === 'f32') return new Float32Array(bytes);
    return Float32Array.from(new Uint16Array(bytes), fromHalf);
  }

  [Symbol.dispose](): void {
    this.#cache.destroy();
    for (const buffer of this.#buffers) buffer.destroy();
  }
}

/** Writes what was before; then in one pass writes what is new and attends. */
async function attend(engine: Engine, paged: AttentionCase): Promise<Float32Array> {
  const past = [engine.upload(paged.past('key')), engine.upload(paged.past('value'))] as const;
  await engine.run(paged.before, (pass, attention) => {
    attention.encodeWrite(pass, LAYER, ...past);
  });
  const fresh = [engine.upload(paged.fresh('key')), engine.upload(paged.fresh('value'))] as const;
  const query = engine.upload(paged.query);
  const output = engine.upload(new Float32Array(paged.query.length));
  await engine.run(paged.step, (pass, attention) => {
    attention.encodeWrite(pass, LAYER, ...fresh);
    attention.encodeAttend(pass, LAYER, query, output);
  });
  return engine.download(output);
}

await describeOnGpu('attention on a GPU', (device) => {
  describe.each(['f32', 'f16'] as const)(`in %s (${replay})`, (dtype) => {
    const all = shapes(new Random('GPU shapes'), dtype).map(
      (shape) => [nameOf(shape), shape] as const,
    );
    it.each(all)('agrees with the definition: %s', async (_, shape) => {
      const paged = new AttentionCase(shape);
      using engine = await Engine.create(device, paged);
      const output = await attend(engine, paged);
      expect(relativeL2(output, paged.expected)).toBeLessThan(TOLERANCE[dtype]);
    });
  });

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
