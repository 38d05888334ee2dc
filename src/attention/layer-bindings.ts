/// <reference types="@webgpu/types" />
/** The bind groups of layers, over the buffers of the cache. */
import type { WebGpuCache } from '../device/webgpu.js';
import type { KernelLayouts } from './kernels.js';
import { groupOfLayer } from './shape.js';

export interface LayerBindings {
  readonly write: GPUBindGroup;
  readonly attend: GPUBindGroup;
}

/** `lists`: what tells the kernel that writes how many tokens there are. */
export function bindLayer(
  cache: WebGpuCache,
  layouts: KernelLayouts,
  layer: number,
  { lists, partials }: { readonly lists: GPUBuffer; readonly partials: GPUBuffer },
): LayerBindings {
  const { device, layout, tables } = cache;
  const group = groupOfLayer(layout, layer);
  const planes = [cache.key(layer), cache.value(layer)];
  const bind = (to: GPUBindGroupLayout, first: GPUBuffer, table: GPUBuffer): GPUBindGroup =>
    device.createBindGroup({
      label: `pagedkv layer ${layer}`,
      layout: to,
      entries: [{ buffer: first }, { buffer: table }, ...planes].map((resource, binding) => ({
        binding,
        resource,
      })),
    });
  return {
    write: bind(layouts.writeLayer, lists, tables.slotMappings[group]!),
    attend: bind(layouts.attendLayer, partials, tables.blockTables[group]!),
  };
}
