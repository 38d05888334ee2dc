/**
 * What must happen before a GPU device is destroyed: its mapped memory is gone the moment it is, and native code that
 * reads it meanwhile would crash the process.
 */

const waiting = new WeakMap<GPUDevice, Set<() => void>>();

/** Lets `wait` return before the device is destroyed, whoever destroys it. The answer undoes that. */
export function beforeDestroy(device: GPUDevice, wait: () => void): () => void {
  const waits = waiting.get(device) ?? guard(device);
  waits.add(wait);
  return () => waits.delete(wait);
}

function guard(device: GPUDevice): Set<() => void> {
  const waits = new Set<() => void>();
  waiting.set(device, waits);
  const destroy = device.destroy.bind(device);
  Object.defineProperty(device, 'destroy', {
    value: () => {
      for (const wait of waits) wait();
      destroy();
    },
    configurable: true,
    writable: true,
  });
  return waits;
}
