import { describe, expect, it, vi } from 'vitest';
import { requestDevice, type DeviceRequest } from '../src/device/adapter.js';
import { describeOnGpu } from './device.gpu.js';

const noAdapters = { requestAdapter: () => Promise.resolve(null) } as unknown as GPU;

describe('the request for a device', () => {
  it('says what to install when there is no adapter', async () => {
    await expect(requestDevice({ gpu: noAdapters })).rejects.toEqual(
      expect.objectContaining({
        code: 'NO_ADAPTER',
        message: expect.stringContaining('VK_ICD_FILENAMES') as string,
      }),
    );
  });

  it.each([
    ['a misspelling', { adaptor: 'software' }, 'UNKNOWN_OPTION'],
    ['an unknown kind', { adapter: 'hard' }, 'INVALID_OPTION'],
  ])('refuses %s', async (_, request, code) => {
    const refused = expect.objectContaining({ code });
    await expect(requestDevice(request as DeviceRequest)).rejects.toEqual(refused);
  });

  it('says what to install when the webgpu package is missing', async () => {
    vi.resetModules();
    vi.doMock('webgpu', () => {
      throw new Error('Cannot find package');
    });
    const fresh = await import('../src/device/adapter.js');
    await expect(fresh.requestDevice()).rejects.toEqual(
      expect.objectContaining({
        code: 'WEBGPU_MISSING',
        message: expect.stringContaining('npm install webgpu') as string,
      }),
    );
    vi.doUnmock('webgpu');
    vi.resetModules();
  });
});

await describeOnGpu('a requested device', (device) => {
  it('has the limits of its adapter, not the least that the specification allows', () => {
    expect(device.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(2 ** 27);
    expect(device.limits.maxBufferSize).toBeGreaterThan(2 ** 28);
  });

  it('outlives garbage collection of everything but itself', async () => {
    for (let i = 0; i < 5; i++) {
      globalThis.gc?.();
      await new Promise((resume) => setTimeout(resume, 5));
    }
    const buffer = device.createBuffer({ size: 16, usage: 0x0008 });
    device.queue.writeBuffer(buffer, 0, new Uint8Array(16));
    await device.queue.onSubmittedWorkDone();
    buffer.destroy();
  });

  it('is software when only software will do', async () => {
    if (!device.adapterInfo.isFallbackAdapter) return;
    const asked = await requestDevice({ adapter: 'software' });
    expect(asked.adapterInfo.isFallbackAdapter).toBe(true);
    asked.destroy();
    const hardware = requestDevice({ adapter: 'hardware' });
    await expect(hardware).rejects.toEqual(expect.objectContaining({ code: 'NO_ADAPTER' }));
  });
});
