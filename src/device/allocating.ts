/** Allocating on a GPU device so that a lack of memory is an error, and leaves nothing behind. */
import { PagedKvError } from '../errors.js';

interface Destroyable {
  destroy(): void;
}

/**
 * Runs what allocates on a device, and gives its result once the device has had the memory; on failure all
 * that `allocate` told to `keep` is destroyed. Between pushing and popping nothing is awaited, so that the
 * errors are of `allocate` and of nobody else.
 */
export async function allocating<T>(
  device: GPUDevice,
  allocate: (keep: <Made extends Destroyable>(made: Made) => Made) => T,
): Promise<T> {
  const kept: Destroyable[] = [];
  device.pushErrorScope('validation');
  device.pushErrorScope('out-of-memory');
  const making = new Promise<T>((resolve) => {
    resolve(
      allocate((made) => {
        kept.push(made);
        return made;
      }),
    );
  });
  const errors = Promise.all([device.popErrorScope(), device.popErrorScope()]);
  try {
    const made = await making.finally(() => errors);
    const cause = (await errors).find((error) => error !== null);
    if (cause === undefined) return made;
    const text = `the GPU device has no room for the KV memory: ${cause.message}`;
    throw new PagedKvError('OUT_OF_DEVICE_MEMORY', text, { cause });
  } catch (error) {
    for (const made of kept.reverse()) made.destroy();
    throw error;
  }
}
