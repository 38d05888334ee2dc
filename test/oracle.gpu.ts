/** Memory of the oracle on a GPU: written by the real kernel, read back in one download. */
import { WebGpuAttention } from '../src/attention/index.js';
import { WebGpuCache, type WebGpuCacheOptions } from '../src/device/webgpu.js';
import type { KvCacheManager } from '../src/index.js';
import type { Attention } from '../src/plan.js';
import { WORD_BYTES } from '../src/words.js';
import { Faults } from './oracle.faults.js';
import { MAX_BATCH_TOKENS, readHost, type Contents, type OracleMemory } from './oracle.memory.js';
import { MODEL, PLANES, planeOf, WIDTH, type Prefix } from './oracle.payload.js';

const MAP_READ = 0x0001;
const COPY_DST = 0x0008;
const STORAGE = 0x0080;

/** Memory by its layout, made once: compiling the kernels takes longer than a program. */
export class GpuMemories implements Disposable {
  readonly #device: GPUDevice;
  readonly #options: WebGpuCacheOptions;
  readonly #made = new Map<string, GpuMemory>();

  constructor(device: GPUDevice, options: WebGpuCacheOptions) {
    this.#device = device;
    this.#options = options;
  }

  async get(kv: KvCacheManager): Promise<GpuMemory> {
    const key = JSON.stringify(kv.layout);
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const memory = await GpuMemory.create(this.#device, kv, this.#options);
    this.#made.set(key, memory);
    return memory;
  }

  [Symbol.dispose](): void {
    for (const memory of this.#made.values()) memory[Symbol.dispose]();
  }
}

class GpuMemory implements OracleMemory, Disposable {
  readonly cache: WebGpuCache;
  readonly faults: Faults;
  readonly #attention: WebGpuAttention;
  /** The activations of one plane each. */
  readonly #activations: readonly GPUBuffer[];
  readonly #sources: readonly Required<GPUBufferBinding>[];
  readonly #staging: GPUBuffer;

  static async create(
    device: GPUDevice,
    kv: KvCacheManager,
    options: WebGpuCacheOptions,
  ): Promise<GpuMemory> {
    const faults = new Faults();
    const { intercept } = faults;
    const cache = await WebGpuCache.create(device, kv, { ...options, intercept });
    const attention = await WebGpuAttention.create(cache, { queryHeads: MODEL.kvHeads });
    return new GpuMemory(cache, attention, faults);
  }

  private constructor(cache: WebGpuCache, attention: WebGpuAttention, faults: Faults) {
    this.cache = cache;
    this.faults = faults;
    this.#attention = attention;
    const size = MAX_BATCH_TOKENS * WIDTH * WORD_BYTES;
    this.#activations = Array.from({ length: PLANES }, () =>
      cache.device.createBuffer({ size, usage: STORAGE | COPY_DST }),
    );
    const table = cache.tables.blockTables[0]!;
    this.#sources = [...planesOf(cache), { buffer: table, offset: 0, size: table.size }];
    this.#staging = cache.device.createBuffer({
      size: this.#sources.reduce((sum, source) => sum + source.size, 0),
      usage: MAP_READ | COPY_DST,
    });
  }

  write(_: Attention, prefixes: readonly Prefix[]): void {
    const { device } = this.cache;
    for (const [plane, buffer] of this.#activations.entries()) {
      device.queue.writeBuffer(buffer, 0, planeOf(prefixes, plane));
    }
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let layer = 0; layer < MODEL.layers; layer++) {
      const key = { buffer: this.#activations[2 * layer]! };
      const value = { buffer: this.#activations[2 * layer + 1]! };
      this.#attention.encodeWrite(pass, layer, key, value);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  poisonSlots(first: number, count: number): void {
    const nan = new Float32Array(count * WIDTH).fill(NaN);
    for (const { buffer, offset } of planesOf(this.cache)) {
      this.cache.device.queue.writeBuffer(buffer, offset + first * WIDTH * WORD_BYTES, nan);
    }
  }

  async read(): Promise<Contents> {
    const [device, host] = [await this.#download(), await readHost(this.cache)];
    const table = new Int32Array(device.pop()!);
    return { device: device.map((bytes) => new Float32Array(bytes)), host, table };
  }

  [Symbol.dispose](): void {
    for (const buffer of [...this.#activations, this.#staging]) buffer.destroy();
    this.cache.destroy();
  }

  async #download(): Promise<ArrayBuffer[]> {
    const { device } = this.cache;
    const encoder = device.createCommandEncoder();
    let end = 0;
    const offsets = this.#sources.map(({ buffer, offset, size }) => {
      encoder.copyBufferToBuffer(buffer, offset, this.#staging, end, size);
      return (end += size) - size;
    });
    device.queue.submit([encoder.finish()]);
    await this.#staging.mapAsync(MAP_READ);
    const bytes = this.#staging.getMappedRange().slice(0);
    this.#staging.unmap();
    return this.#sources.map(({ size }, i) => bytes.slice(offsets[i], offsets[i]! + size));
  }
}

function planesOf(cache: WebGpuCache): Required<GPUBufferBinding>[] {
  return Array.from({ length: MODEL.layers }, (_, layer) => [
    cache.key(layer),
    cache.value(layer),
  ]).flat();
}
