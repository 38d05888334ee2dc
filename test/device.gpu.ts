/** The GPU of the tests, which is software where there is no other; what goes wrong on it fails the test. */
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { requestDevice } from '../src/device/adapter.js';
import { PagedKvError } from '../src/errors.js';

/**
 * Tests that need a GPU device, one for all of them; each must leave it without an uncaptured error.
 * Where there is no adapter at all they are skipped and say so.
 */
export async function describeOnGpu(
  name: string,
  body: (device: GPUDevice) => void,
): Promise<void> {
  const device = await deviceOrNone();
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

async function deviceOrNone(): Promise<GPUDevice | undefined> {
  try {
    return await requestDevice();
  } catch (error) {
    if (error instanceof PagedKvError && error.code === 'NO_ADAPTER') return undefined;
    throw error;
  }
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
