/** The model over the manager's memory on WebGPU. */
import { WebGpuAttention } from '../../../src/attention/index.js';
import { WebGpuCache, type Intercept } from '../../../src/device/webgpu.js';
import type { KvCacheManager } from '../../../src/index.js';
import type { ModelConfig } from './config.js';
import type { EngineLimits, Logits, PagedEngine, Pass } from './engine.js';
import { GpuModel } from './gpu-model.js';
import { overwriteSlot } from './paged.js';
import type { Weights } from './weights.js';

export class GpuPagedEngine implements PagedEngine {
  static async create(
    device: GPUDevice,
    kv: KvCacheManager,
    config: ModelConfig,
    weights: Weights,
    limits: EngineLimits,
    intercept?: Intercept,
  ): Promise<GpuPagedEngine> {
    const cache = await WebGpuCache.create(
      device,
      kv,
      intercept === undefined ? {} : { intercept },
    );
    const attention = await WebGpuAttention.create(cache, { queryHeads: config.heads });
    return new GpuPagedEngine(cache, attention, new GpuModel(device, config, weights, limits));
  }

  readonly cache: WebGpuCache;
  readonly #attention: WebGpuAttention;
  readonly #model: GpuModel;

  private constructor(cache: WebGpuCache, attention: WebGpuAttention, model: GpuModel) {
    this.cache = cache;
    this.#attention = attention;
    this.#model = model;
  }

  /** The step's tables are on the GPU since its execution. */
  forward(pass: Pass): Promise<Logits> {
    const { queries, keys, values, attended } = this.#model.rows;
    return this.#model.forward(pass, (compute, layer) => {
      this.#attention.encodeWrite(compute, layer, { buffer: keys }, { buffer: values });
      this.#attention.encodeAttend(compute, layer, { buffer: queries }, { buffer: attended });
    });
  }

  overwriteSlot(slot: number, value: number): Promise<void> {
    return overwriteSlot(this.cache, slot, value);
  }

  destroy(): void {
    this.cache.destroy();
    this.#model.destroy();
  }
}
