/// <reference types="@webgpu/types" />
/** Compiled kernels, one for each text and device, so that attentions of one shape share them. */

const compiled = new WeakMap<GPUDevice, Map<string, Promise<GPUComputePipeline>>>();

/** Layouts must be equivalent for equal texts. Rejects as `createComputePipelineAsync` does. */
export function compile(
  device: GPUDevice,
  name: string,
  code: string,
  layout: GPUPipelineLayout,
): Promise<GPUComputePipeline> {
  let known = compiled.get(device);
  if (known === undefined) {
    known = new Map();
    compiled.set(device, known);
  }
  let pipeline = known.get(code);
  if (pipeline === undefined) {
    const label = `pagedkv ${name}`;
    const module = device.createShaderModule({ label, code });
    pipeline = device.createComputePipelineAsync({ label, layout, compute: { module } });
    known.set(code, pipeline);
  }
  return pipeline;
}
