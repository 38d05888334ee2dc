/** Finding a GPU, or the software that stands in for one, and asking it for all that it has. */
import { PagedKvError } from '../errors.js';
import { readChoice, readOptions } from '../validate.js';

/** What the kernels can make use of; asked for where the adapter has it. */
const WANTED_FEATURES: readonly GPUFeatureName[] = ['shader-f16', 'subgroups', 'timestamp-query'];

const KINDS = ['any', 'hardware', 'software'] as const;
type AdapterKind = (typeof KINDS)[number];

/** What `requestDevice` and `pickDevice` take. */
export interface DeviceRequest {
  /** Where adapters come from; by default `navigator.gpu`, else the `webgpu` package. */
  readonly gpu?: GPU;
  /** `'hardware'`: refuse software adapters. `'software'`: take nothing else. Default `'any'`: hardware if there is any. */
  readonly adapter?: AdapterKind;
  readonly label?: string;
}

const NAMES = ['gpu', 'adapter', 'label'] as const satisfies readonly (keyof DeviceRequest)[];

export interface PickedDevice {
  readonly device: GPUDevice;
  readonly adapter: GPUAdapter;
  /** The adapter runs on the CPU: right for correctness, not for speed. */
  readonly isSoftware: boolean;
}

/**
 * The `GPU` of the `webgpu` package, made once. It is never let go of: when it is collected while a device
 * lives, the process crashes.
 */
let packageGpu: Promise<GPU> | undefined;

/**
 * A device with the adapter's own limits and every feature the kernels can use. Rejects with
 * `WEBGPU_MISSING` where there is neither `navigator.gpu` nor the `webgpu` package, and with
 * `NO_ADAPTER` where no driver offers an adapter of the wanted kind. Also `INVALID_OPTION`, `UNKNOWN_OPTION`.
 */
export async function requestDevice(request: DeviceRequest = {}): Promise<GPUDevice> {
  return (await pickDevice(request)).device;
}

/** As `requestDevice`, and tells what was picked. */
export async function pickDevice(request: DeviceRequest = {}): Promise<PickedDevice> {
  const given = readOptions('the request', request, NAMES);
  const kind = readChoice('adapter', given.adapter, KINDS, 'any');
  const gpu = (given.gpu as GPU | undefined) ?? (await defaultGpu());
  const adapter = await pickAdapter(gpu, kind);
  const device = await adapter.requestDevice({
    ...(given.label === undefined ? {} : { label: given.label as string }),
    requiredFeatures: WANTED_FEATURES.filter((feature) => adapter.features.has(feature)),
    requiredLimits: allLimits(adapter.limits),
  });
  return { device, adapter, isSoftware: isSoftware(adapter.info) };
}

/** Whether an adapter runs on the CPU. Older implementations do not tell: taken for hardware. */
export function isSoftware(info: GPUAdapterInfo | undefined): boolean {
  if (info === undefined) return false;
  return info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe/i.test(namesOf(info));
}

function namesOf(info: GPUAdapterInfo): string {
  return `${info.architecture} ${info.device} ${info.description}`;
}

async function pickAdapter(gpu: GPU, kind: AdapterKind): Promise<GPUAdapter> {
  const preferred = await gpu.requestAdapter({
    powerPreference: 'high-performance',
    forceFallbackAdapter: kind === 'software',
  });
  const adapter =
    preferred ?? (kind === 'any' ? await gpu.requestAdapter({ forceFallbackAdapter: true }) : null);
  if (adapter === null) {
    throw new PagedKvError(
      'NO_ADAPTER',
      `there is no WebGPU adapter${kind === 'any' ? '' : ` of kind '${kind}'`}. On Linux install the Vulkan ` +
        'driver of the GPU (or Mesa 25 or later for software Vulkan), or point VK_ICD_FILENAMES at the driver ' +
        "file of SwiftShader, which the npm package '@sparticuz/chromium' contains.",
    );
  }
  if (kind === 'hardware' && isSoftware(adapter.info)) {
    throw new PagedKvError(
      'NO_ADAPTER',
      `the only WebGPU adapter is software (${namesOf(adapter.info).trim()}); install the driver of the GPU`,
    );
  }
  return adapter;
}

/** Without this a device has the least limits of the specification: 256 MiB buffers, 128 MiB bindings. */
function allLimits(limits: GPUSupportedLimits): Record<string, number> {
  const all: Record<string, number> = {};
  // Limits are getters of the prototype, so only `for … in` finds them.
  for (const name in limits) {
    const value = (limits as unknown as Record<string, unknown>)[name];
    if (typeof value === 'number') all[name] = value;
  }
  return all;
}

async function defaultGpu(): Promise<GPU> {
  const own = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (own !== undefined) return own;
  packageGpu ??= loadPackage();
  return packageGpu;
}

async function loadPackage(): Promise<GPU> {
  try {
    const { create } = await import('webgpu');
    return create([]);
  } catch (cause) {
    packageGpu = undefined;
    throw new PagedKvError(
      'WEBGPU_MISSING',
      "the 'webgpu' package could not be loaded; install it with: npm install webgpu",
      { cause },
    );
  }
}
