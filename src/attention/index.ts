/** Attention over paged KV memory: kernels for a GPU, and the same meaning in plain TypeScript for the host. */
export { fromHalf, halfValues, toHalf } from './half.js';
export { HostAttention } from './host.js';
export type { AttentionOptions, AttentionShape } from './shape.js';
export { WebGpuAttention, type WebGpuAttentionOptions } from './webgpu.js';
