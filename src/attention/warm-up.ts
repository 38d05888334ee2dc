/// <reference types="@webgpu/types" />
/** Running every kernel once over nothing: some drivers compile no sooner than that. */
import { BufferUsage } from '../device/flags.js';
import type { WebGpuCache } from '../device/webgpu.js';
import type { CompiledKernels } from './kernels.js';
import { bindLayer } from './layer-bindings.js';

/** More than any kernel looks at before it finds that there is nothing to do. */
const NOTHING_BYTES = 1024;

/** Resolves when the device has done it. Writes nothing. */
export async function warmUp(
  cache: WebGpuCache,
  { layouts, write, single, tile, reduce }: CompiledKernels,
  partials: GPUBuffer,
): Promise<void> {
  const { device } = cache;
  const nothing = Array.from({ length: 3 }, () =>
    device.createBuffer({ size: NOTHING_BYTES, usage: BufferUsage.STORAGE }),
  );
  const [zeros, given, made] = nothing as [GPUBuffer, GPUBuffer, GPUBuffer];
  const bind = (layout: GPUBindGroupLayout, ...buffers: readonly GPUBuffer[]): GPUBindGroup =>
    device.createBindGroup({
      layout,
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
  const layer = bindLayer(cache, layouts, firstLayer(cache), { lists: zeros, partials });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setBindGroup(0, layer.write);
  pass.setBindGroup(1, bind(layouts.writeTensors, given, given));
  run(pass, [write]);
  pass.setBindGroup(0, layer.attend);
  pass.setBindGroup(1, bind(layouts.attendTensors, given, made));
  pass.setBindGroup(2, bind(layouts.work, zeros));
  run(pass, [single, tile, reduce]);
  pass.end();
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
  for (const buffer of nothing) buffer.destroy();
}

function run(pass: GPUComputePassEncoder, pipelines: readonly GPUComputePipeline[]): void {
  for (const pipeline of pipelines) {
    pass.setPipeline(pipeline);
    pass.dispatchWorkgroups(1);
  }
}

function firstLayer({ layout }: WebGpuCache): number {
  return layout.groups[0]!.planes[0]!.layer;
}
