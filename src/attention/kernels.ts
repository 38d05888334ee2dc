/// <reference types="@webgpu/types" />
/** The kernels of one attention, compiled, and what they bind. */
import type { KernelShape } from './attend-shader.js';
import { compile } from './pipelines.js';
import { reduceShader } from './reduce-shader.js';
import type { Kernels } from './sizes.js';
import { streamShader } from './stream-shader.js';
import { tileShader } from './tile-shader.js';
import { writeShader } from './write-shader.js';

export interface CompiledKernels {
  readonly write: GPUComputePipeline;
  readonly single: GPUComputePipeline;
  readonly tile: GPUComputePipeline;
  readonly reduce: GPUComputePipeline;
  readonly layouts: KernelLayouts;
}

/** What of a layer is bound, what a caller gives, and the work of a step. */
export interface KernelLayouts {
  readonly writeLayer: GPUBindGroupLayout;
  readonly writeTensors: GPUBindGroupLayout;
  readonly attendLayer: GPUBindGroupLayout;
  readonly attendTensors: GPUBindGroupLayout;
  readonly work: GPUBindGroupLayout;
}

const COMPUTE_STAGE = 4;

/** Compiles what is not compiled yet on this device: all that will ever run. Takes up to seconds. */
export async function compileKernels(
  device: GPUDevice,
  shape: KernelShape,
  { single, tile }: Kernels,
): Promise<CompiledKernels> {
  const layouts = layoutsOn(device);
  const { writeLayer, writeTensors, attendLayer, attendTensors, work } = layouts;
  const writing = device.createPipelineLayout({ bindGroupLayouts: [writeLayer, writeTensors] });
  const attending = device.createPipelineLayout({
    bindGroupLayouts: [attendLayer, attendTensors, work],
  });
  const attend = (name: string, code: string): Promise<GPUComputePipeline> =>
    compile(device, name, code, attending);
  const pipelines = await Promise.all([
    compile(device, 'write', writeShader(shape), writing),
    single.kind === 'stream'
      ? attend('attend by stream', streamShader(shape, single.sizes))
      : attend('attend singly', tileShader(shape, single.sizes, true)),
    attend('attend by tile', tileShader(shape, tile, false)),
    attend('reduce', reduceShader(shape)),
  ]);
  return {
    write: pipelines[0],
    single: pipelines[1],
    tile: pipelines[2],
    reduce: pipelines[3],
    layouts,
  };
}

function layoutsOn(device: GPUDevice): KernelLayouts {
  const layout = (...types: GPUBufferBindingType[]): GPUBindGroupLayout =>
    device.createBindGroupLayout({
      entries: types.map((type, binding) => ({
        binding,
        visibility: COMPUTE_STAGE,
        buffer: { type },
      })),
    });
  return {
    // Lists, slot mapping, keys, values.
    writeLayer: layout('read-only-storage', 'read-only-storage', 'storage', 'storage'),
    // Keys, values.
    writeTensors: layout('read-only-storage', 'read-only-storage'),
    // Partial results, block table, keys, values.
    attendLayer: layout('storage', 'read-only-storage', 'read-only-storage', 'read-only-storage'),
    // Query, output.
    attendTensors: layout('read-only-storage', 'storage'),
    work: layout('read-only-storage'),
  };
}
