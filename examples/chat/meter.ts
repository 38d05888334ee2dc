/** What the memory was used for, sampled after every step; beside it, what contiguous caches would have taken. */
import type { KvCacheManager } from '../../src/index.js';
import type { Request } from './request.js';

export interface MemoryUse {
  readonly blockBytes: number;
  /** Most bytes of device blocks that sequences held at once. */
  readonly peakBytes: number;
  /** Most bytes of host blocks in use at once, held or cached. */
  readonly hostPeakBytes: number;
  /** Most bytes that one contiguous cache for each open sequence, as long as its chat gets, would have reserved. */
  readonly contiguousBytes: number;
  /** Share of the slots in held blocks that were empty, on average. */
  readonly waste: number;
  /** Share of the contiguous caches that would have been empty, on average. */
  readonly contiguousWaste: number;
  readonly mostOpen: number;
}

export class MemoryMeter {
  readonly #kv: KvCacheManager;
  readonly #blockBytes: number;
  readonly #tokenBytes: number;
  /** By chat: tokens of its longest case. */
  readonly #longest: readonly number[];
  #peakBlocks = 0;
  #hostPeakBlocks = 0;
  #contiguousPeak = 0;
  #mostOpen = 0;
  #heldSlots = 0;
  #emptySlots = 0;
  #reservedSlots = 0;
  #unusedSlots = 0;

  constructor(kv: KvCacheManager, longest: readonly number[]) {
    const [group] = kv.layout.groups;
    this.#kv = kv;
    this.#tokenBytes = group!.planes.reduce((sum, { bytesPerToken }) => sum + bytesPerToken, 0);
    this.#blockBytes = this.#tokenBytes * kv.layout.blockSize;
    this.#longest = longest;
  }

  /** `running`: sequences with blocks on the device; `preempted`: the others that are open. */
  sample(running: readonly Request[], preempted: readonly Request[]): void {
    const { device, host } = this.#kv.stats();
    const { blockSize } = this.#kv.layout;
    this.#peakBlocks = Math.max(this.#peakBlocks, device.held);
    this.#hostPeakBlocks = Math.max(this.#hostPeakBlocks, host.held + host.cached);
    this.#mostOpen = Math.max(this.#mostOpen, running.length + preempted.length);

    this.#heldSlots += device.held * blockSize;
    for (const { computed } of running) {
      this.#emptySlots += Math.ceil(computed / blockSize) * blockSize - computed;
    }
    let reserved = 0;
    for (const request of [...running, ...preempted]) {
      reserved += this.#longest[request.chat]!;
      this.#unusedSlots += this.#longest[request.chat]! - request.computed;
    }
    this.#reservedSlots += reserved;
    this.#contiguousPeak = Math.max(this.#contiguousPeak, reserved * this.#tokenBytes);
  }

  use(): MemoryUse {
    return {
      blockBytes: this.#blockBytes,
      peakBytes: this.#peakBlocks * this.#blockBytes,
      hostPeakBytes: this.#hostPeakBlocks * this.#blockBytes,
      contiguousBytes: this.#contiguousPeak,
      waste: this.#heldSlots === 0 ? 0 : this.#emptySlots / this.#heldSlots,
      contiguousWaste: this.#reservedSlots === 0 ? 0 : this.#unusedSlots / this.#reservedSlots,
      mostOpen: this.#mostOpen,
    };
  }
}
