/** The model over the manager's memory on the CPU. */
import { HostAttention } from '../../../src/attention/index.js';
import { HostCache, type Intercept } from '../../../src/device/host.js';
import type { KvCacheManager } from '../../../src/index.js';
import type { Attention } from '../../../src/plan.js';
import type { ModelConfig } from './config.js';
import type { EngineLimits, Logits, PagedEngine, Pass } from './engine.js';
import { HostModel } from './host-model.js';
import { overwriteSlot } from './paged.js';
import type { Weights } from './weights.js';

export class HostPagedEngine implements PagedEngine {
  readonly cache: HostCache;
  readonly #attention: HostAttention;
  readonly #model: HostModel;

  constructor(
    kv: KvCacheManager,
    config: ModelConfig,
    weights: Weights,
    limits: EngineLimits,
    intercept?: Intercept,
  ) {
    // So few bytes would move at once, and nothing beside a pass.
    const options = { bytesAtOnce: 0, ...(intercept === undefined ? {} : { intercept }) };
    this.cache = new HostCache(kv, options);
    this.#attention = new HostAttention(this.cache, { queryHeads: config.heads });
    this.#model = new HostModel(config, weights, limits);
  }

  forward(pass: Pass, attention: Attention): Promise<Logits> {
    const logits = this.#model.forward(pass, (layer, { keys, values, queries, attended }) => {
      this.#attention.write(attention, layer, keys, values);
      this.#attention.attend(attention, layer, queries, attended);
    });
    return Promise.resolve(logits);
  }

  overwriteSlot(slot: number, value: number): Promise<void> {
    return overwriteSlot(this.cache, slot, value);
  }

  destroy(): void {
    this.cache.destroy();
  }
}
