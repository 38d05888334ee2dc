/** Attention over one contiguous cache a lane, on WebGPU. Its kernels know no block table. */
import type { ModelConfig } from './config.js';
import type { ContiguousEngine, EngineLimits, Logits, Pass } from './engine.js';
import { GpuModel } from './gpu-model.js';
import type { Weights } from './weights.js';

const storeWorkgroup = 32;
const headsPerWorkgroup = 4;
/** Positions that are weighed together. */
const tile = 32;

export class GpuContiguousEngine implements ContiguousEngine {
  readonly #device: GPUDevice;
  readonly #config: ModelConfig;
  readonly #model: GpuModel;
  readonly #buffers: GPUBuffer[] = [];
  /** `[tokens]` of (lane, position). */
  readonly #places: GPUBuffer;
  readonly #layers: readonly { store: GPUBindGroup; attend: GPUBindGroup }[];
  readonly #store: GPUComputePipeline;
  readonly #attend: GPUComputePipeline;

  constructor(
    device: GPUDevice,
    config: ModelConfig,
    weights: Weights,
    limits: EngineLimits,
    lanes: number,
  ) {
    this.#device = device;
    this.#config = config;
    this.#model = new GpuModel(device, config, weights, limits);
    this.#places = this.#buffer(limits.passTokens * 2);
    this.#store = pipelineOf(device, storeKernel(config, limits.sequenceTokens));
    this.#attend = pipelineOf(device, attendKernel(config, limits.sequenceTokens));

    const { queries, keys, values, attended } = this.#model.rows;
    const plane = (): GPUBuffer =>
      this.#buffer(lanes * limits.sequenceTokens * config.kvHeads * config.headDim);
    this.#layers = weights.layers.map(() => {
      const layerKeys = plane();
      const layerValues = plane();
      return {
        store: bind(device, this.#store, [this.#places, keys, values, layerKeys, layerValues]),
        attend: bind(device, this.#attend, [
          this.#places,
          queries,
          layerKeys,
          layerValues,
          attended,
        ]),
      };
    });
  }

  forward(pass: Pass, lanes: Uint32Array): Promise<Logits> {
    const { kvHeads, headDim, heads } = this.#config;
    const tokens = pass.ids.length;
    const places = new Uint32Array(tokens * 2);
    for (let i = 0; i < tokens; i++) {
      places[2 * i] = lanes[i]!;
      places[2 * i + 1] = pass.positions[i]!;
    }
    this.#device.queue.writeBuffer(this.#places, 0, places);
    return this.#model.forward(pass, (compute, layer) => {
      const { store, attend } = this.#layers[layer]!;
      compute.setPipeline(this.#store);
      compute.setBindGroup(0, store);
      compute.dispatchWorkgroups(Math.ceil((kvHeads * headDim) / 4 / storeWorkgroup), tokens);
      compute.setPipeline(this.#attend);
      compute.setBindGroup(0, attend);
      compute.dispatchWorkgroups(Math.ceil((heads * tokens) / headsPerWorkgroup));
    });
  }

  destroy(): void {
    this.#model.destroy();
    for (const buffer of this.#buffers) buffer.destroy();
  }

  #buffer(elements: number): GPUBuffer {
    const { STORAGE, COPY_DST } = GPUBufferUsage;
    const buffer = this.#device.createBuffer({ size: elements * 4, usage: STORAGE | COPY_DST });
    this.#buffers.push(buffer);
    return buffer;
  }
}

function pipelineOf(device: GPUDevice, code: string): GPUComputePipeline {
  const module = device.createShaderModule({ code });
  return device.createComputePipeline({ layout: 'auto', compute: { module } });
}

function bind(
  device: GPUDevice,
  pipeline: GPUComputePipeline,
  buffers: readonly GPUBuffer[],
): GPUBindGroup {
  return device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
}

/** One invocation stores four numbers of one token's key and value. */
function storeKernel({ kvHeads, headDim }: ModelConfig, laneTokens: number): string {
  return /* wgsl */ `
@group(0) @binding(0) var<storage, read> places: array<vec2u>;
@group(0) @binding(1) var<storage, read> newKeys: array<vec4f>;
@group(0) @binding(2) var<storage, read> newValues: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> keys: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> values: array<vec4f>;
const width = ${(kvHeads * headDim) / 4}u;

@compute @workgroup_size(${storeWorkgroup})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= width) { return; }
  let place = places[id.y];
  let at = (place.x * ${laneTokens}u + place.y) * width + id.x;
  keys[at] = newKeys[id.y * width + id.x];
  values[at] = newValues[id.y * width + id.x];
}`;
}

/**
 * One invocation attends with one head of one token, position after position.
 */
function attendKernel({ heads, kvHeads, headDim }: ModelConfig, laneTokens: number): string {
  return /* wgsl */ `
@group(0) @binding(0) var<storage, read> places: array<vec2u>;
@group(0) @binding(1) var<storage, read> queries: array<vec4f>;
@group(0) @binding(2) var<storage, read> keys: array<vec4f>;
@group(0) @binding(3) var<storage, read> values: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> attended: array<vec4f>;

const heads = ${heads}u;
const tile = ${tile}u;
const quads = ${headDim / 4}u;
const laneWidth = ${(kvHeads * headDim) / 4}u;
const scale = f32(${Math.fround(1 / Math.sqrt(headDim))});

@compute @workgroup_size(${headsPerWorkgroup})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let head = id.x % heads;
  let token = id.x / heads;
  if (token >= arrayLength(&places)) { return; }
  let place = places[token];
  let context = place.y + 1u;
  let query = id.x * quads;
  let lane = place.x * ${laneTokens}u * laneWidth + head / ${heads / kvHeads}u * quads;

  var largest = -1e30;
  var scores: array<f32, tile>;
  var weightSum = 0.0;
  var valueSums: array<vec4f, quads>;
  for (var start = 0u; start < context; start += tile) {
    let inside = min(tile, context - start);
    var larger = largest;
    for (var j = 0u; j < inside; j++) {
      let at = lane + (start + j) * laneWidth;
      var products = vec4f();
      for (var i = 0u; i < quads; i++) { products += queries[query + i] * keys[at + i]; }
      scores[j] = dot(products, vec4f(1.0)) * scale;
      larger = max(larger, scores[j]);
    }
    let fade = exp(largest - larger);
    largest = larger;
    weightSum *= fade;
    for (var i = 0u; i < quads; i++) { valueSums[i] *= fade; }
    for (var j = 0u; j < inside; j++) {
      let weight = exp(scores[j] - largest);
      weightSum += weight;
      let at = lane + (start + j) * laneWidth;
      for (var i = 0u; i < quads; i++) { valueSums[i] += weight * values[at + i]; }
    }
  }
  for (var i = 0u; i < quads; i++) { attended[query + i] = valueSums[i] / weightSum; }
}`;
}
