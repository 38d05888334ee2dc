/** Where the model runs: a GPU through WebGPU, or the CPU. Makes both kinds of engine. */
import { pickDevice, type Intercept } from '../../src/device/webgpu.js';
import { PagedKvError, type KvCacheManager } from '../../src/index.js';
import type { ModelConfig } from './model/config.js';
import type { ContiguousEngine, EngineLimits, PagedEngine } from './model/engine.js';
import { GpuContiguousEngine } from './model/gpu-contiguous.js';
import { GpuPagedEngine } from './model/gpu-paged.js';
import { HostContiguousEngine } from './model/host-contiguous.js';
import { HostPagedEngine } from './model/host-paged.js';
import type { Weights } from './model/weights.js';
import { UsageError } from './usage.js';

export interface Model {
  readonly config: ModelConfig;
  readonly weights: Weights;
}

export interface Backend {
  readonly kind: 'webgpu' | 'host';
  /** What the user calls the thing that computes. */
  readonly adapter: string;
  /** `intercept`: is asked before each piece of a transfer. */
  paged(
    kv: KvCacheManager,
    model: Model,
    limits: EngineLimits,
    intercept?: Intercept,
  ): Promise<PagedEngine>;
  contiguous(model: Model, limits: EngineLimits, lanes: number): ContiguousEngine;
  /** Throws when the device reported an error that no call rejected with. */
  check(): void;
  close(): void;
}

/**
 * Opens the device asked for. When none was asked for and there is no GPU, says so through `say` and takes
 * the host.
 */
export async function openBackend(
  device: 'webgpu' | 'host' | undefined,
  say: (message: string) => void,
): Promise<Backend> {
  if (device === 'host') return hostBackend();
  try {
    return await gpuBackend();
  } catch (error) {
    if (!isMissingGpu(error)) throw error;
    if (device === 'webgpu') throw new UsageError(error.message);
    say(`No GPU: ${error.message}\nRunning on the host instead.`);
    return hostBackend();
  }
}

function isMissingGpu(error: unknown): error is PagedKvError {
  return (
    error instanceof PagedKvError &&
    (error.code === 'NO_ADAPTER' || error.code === 'WEBGPU_MISSING')
  );
}

function hostBackend(): Backend {
  return {
    kind: 'host',
    adapter: `CPU, plain JavaScript (Node ${process.versions.node})`,
    paged: (kv, { config, weights }, limits, intercept) =>
      Promise.resolve(new HostPagedEngine(kv, config, weights, limits, intercept)),
    contiguous: ({ config, weights }, limits, lanes) =>
      new HostContiguousEngine(config, weights, limits, lanes),
    check: () => undefined,
    close: () => undefined,
  };
}

async function gpuBackend(): Promise<Backend> {
  const { device, adapter, isSoftware } = await pickDevice({ label: 'chat' });
  await defineConstants();
  let failure: string | undefined;
  device.addEventListener('uncapturederror', ({ error }) => {
    failure ??= error.message;
  });
  const { vendor, architecture, description } = adapter.info;
  const name = description || [vendor, architecture].filter(Boolean).join(' ') || 'unnamed adapter';
  const check = (): void => {
    if (failure !== undefined) throw new Error(`the GPU reported: ${failure}`);
  };
  return {
    kind: 'webgpu',
    adapter: isSoftware ? `${name} (software)` : name,
    paged: async (kv, { config, weights }, limits, intercept) => {
      const engine = await GpuPagedEngine.create(device, kv, config, weights, limits, intercept);
      await device.queue.onSubmittedWorkDone();
      check();
      return engine;
    },
    contiguous: ({ config, weights }, limits, lanes) =>
      new GpuContiguousEngine(device, config, weights, limits, lanes),
    check,
    close: () => {
      device.destroy();
    },
  };
}

/** `GPUBufferUsage` and its like are globals in a browser; the `webgpu` package only exports them. */
async function defineConstants(): Promise<void> {
  if (!('GPUBufferUsage' in globalThis))
    Object.assign(globalThis, (await import('webgpu')).globals);
}
