/** The GPU of the tests, which is software where there is no other; what goes wrong on it fails the test. */
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { create } from 'webgpu';
import { requestDevice } from '../src/device/adapter.js';
import { PagedKvError } from '../src/errors.js';

/**
 * Tests that need a GPU device, one for all of them; each must leave it without an uncaptured error.
 * Where there is no adapter at all they are skipped and say so.
 */
export async function describeOnGpu(
  name: string,
  body: (device: GPUDevice) => void,
  request: () => Promise<GPUDevice> = requestDevice,
): Promise<void> {
  const device = await deviceOrNone(request);
  if (device === undefined) {
    describe(name, () => {
      it.skip('was not tested: this machine has no WebGPU adapter, not even a software one');
    });
    return;
  }
  const errors: string[] = [];
  device.addEventListener('uncapturederror', (event) => errors.push(event.error.message));
  describe(name, () => {
    afterEach(async () => {
      await device.queue.onSubmittedWorkDone();
      expect(errors.splice(0)).toEqual([]);
    });
    afterAll(() => {
      device.destroy();
    });
    body(device);
  });
}

async function deviceOrNone(request: () => Promise<GPUDevice>): Promise<GPUDevice | undefined> {
  try {
    return await request();
  } catch (error) {
    if (error instanceof PagedKvError && error.code === 'NO_ADAPTER') return undefined;
    throw error;
  }
}

/** What a device is to be like, whatever the machine's own can do. */
export interface Likeness {
  readonly without?: readonly GPUFeatureName[];
  /** Those that every adapter has. */
  readonly leastLimits?: boolean;
  /** Taken for hardware by whoever asks. */
  readonly hardware?: boolean;
}

/** Never let go of: collected while a device lives, it ends the process. */
const gpu = create([]);

/** Requests such a device. */
export function deviceLike(likeness: Likeness): () => Promise<GPUDevice> {
  return async () => {
    const device = await requestDevice({
      gpu: { requestAdapter: () => adapterLike(likeness) } as GPU,
    });
    if (likeness.hardware) {
      const { subgroupMinSize, subgroupMaxSize } = device.adapterInfo;
      const value = {
        description: 'hardware',
        isFallbackAdapter: false,
        subgroupMinSize,
        subgroupMaxSize,
      };
      Object.defineProperty(device, 'adapterInfo', { value });
    }
    return device;
  };
}

async function adapterLike({ without = [], leastLimits }: Likeness): Promise<GPUAdapter | null> {
  const adapter = await gpu.requestAdapter();
  if (adapter === null) return null;
  return {
    features: new Set(
      [...adapter.features].filter((name) => !without.includes(name as GPUFeatureName)),
    ),
    limits: leastLimits ? {} : adapter.limits,
    info: adapter.info,
    requestDevice: (descriptor: GPUDeviceDescriptor) => adapter.requestDevice(descriptor),
  } as unknown as GPUAdapter;
}

/** Downloads a buffer that has COPY_SRC. */
export async function download(
  device: GPUDevice,
  buffer: GPUBuffer,
  offset = 0,
  size = buffer.size - offset,
): Promise<ArrayBuffer> {
  const staging = device.createBuffer({ size, usage: 0x0001 | 0x0008 });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, offset, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(0x0001);
  const bytes = staging.getMappedRange().slice(0);
  staging.destroy();
  return bytes;
}

/** Counts what a device creates for as long as the result is in scope. */
export function countCreations(device: GPUDevice): Disposable & { count: number } {
  const names = ['createBuffer', 'createBindGroup', 'createComputePipeline'] as const;
  const counter = {
    count: 0,
    [Symbol.dispose]: () => {
      for (const name of names) Reflect.deleteProperty(device, name);
    },
  };
  for (const name of names) {
    const create = device[name].bind(device) as (descriptor: never) => unknown;
    const counting = (descriptor: never): unknown => {
      counter.count += 1;
      return create(descriptor);
    };
    Object.defineProperty(device, name, { configurable: true, value: counting });
  }
  return counter;
}
