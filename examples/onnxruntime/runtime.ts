/** ONNX Runtime, from the packages of this example: sessions on its WebGPU provider, and tensors. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { InferenceSession, Tensor } from 'onnxruntime-common';
import { halfValues } from '../../src/attention/half.js';

export type { InferenceSession, Tensor } from 'onnxruntime-common';

/** What `onnxruntime-node` exports. */
type Runtime = typeof import('onnxruntime-common');

/** Where a session leaves what it computes. */
export type Location = 'gpu-buffer' | 'cpu';

// Unless told otherwise, ONNX Runtime tells its makers how it is used.
process.env.ORT_DISABLE_TELEMETRY ??= '1';

/** 288 MB, so it is a package of this example alone. */
function loadRuntime(): Runtime {
  const root = dirname(createRequire(import.meta.url).resolve('pagedkv/package.json'));
  const load = createRequire(join(root, 'examples/onnxruntime/package.json'));
  return load('onnxruntime-node') as Runtime;
}

const runtime = loadRuntime();

/** Rejects where there is no adapter. Shaders are compiled by the first run. */
export function createSession(model: Uint8Array, outputs: Location): Promise<InferenceSession> {
  return runtime.InferenceSession.create(model, {
    executionProviders: ['webgpu'],
    preferredOutputLocation: outputs,
    logSeverityLevel: 3,
  });
}

/** A tensor of indices or lengths. ONNX Runtime reads `values` when a session runs, so they may be a view. */
export function ints(values: Int32Array, ...dims: number[]): Tensor {
  return new runtime.Tensor('int32', values, dims.length > 0 ? dims : [values.length]);
}

/** A tensor of halves, given as their bit patterns. */
export function halves(bits: Uint16Array, ...dims: number[]): Tensor {
  return new runtime.Tensor('float16', bits, dims);
}

/** The bit patterns of a tensor of halves that a session left on the CPU: of one on the GPU they cannot be had. */
export function bitsOf(tensor: Tensor): Uint16Array {
  return tensor.data as Uint16Array;
}

/** The values of a tensor of halves on the CPU. */
export function valuesOf(tensor: Tensor): Float32Array {
  const values = halfValues();
  return Float32Array.from(bitsOf(tensor), (bits) => values[bits]!);
}
