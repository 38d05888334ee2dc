/** An engine of one layer on a GPU, and what its attention is compared by. */
import { fromHalf, toHalf } from '../src/attention/half.js';
import { WebGpuAttention, type WebGpuAttentionOptions } from '../src/attention/webgpu.js';
import { poisonBlocks, WebGpuCache } from '../src/device/webgpu.js';
import type { Attention } from '../src/plan.js';
import { LAYER, type AttentionCase } from './attention.cases.js';
import { FakeWork } from './device.fakes.js';
import { download } from './device.gpu.js';

/** Relative L2 to the definition in float64. */
export const TOLERANCE = { f32: 1e-5, f16: 2e-3 };
const STORAGE = 0x0080 | 0x0008 | 0x0004;

/** An engine with one layer: buffers for its activations, and passes that write and attend. */
export class Engine implements Disposable {
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
export async function attend(engine: Engine, paged: AttentionCase): Promise<Float32Array> {
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
