/// <reference types="@webgpu/types" />
/** Attention over paged KV memory on a GPU: encodes the kernels into the engine's own passes. */
import { isSoftware } from '../device/adapter.js';
import { BufferUsage } from '../device/flags.js';
import type { WebGpuCache } from '../device/webgpu.js';
import type { DType } from '../plan.js';
import { readChoice, readOptions } from '../validate.js';
import type { KernelShape } from './attend-shader.js';
import { BindGroupCache } from './bind-groups.js';
import { compileKernels, type CompiledKernels } from './kernels.js';
import { bindLayer, type LayerBindings } from './layer-bindings.js';
import {
  attentionShape,
  SHAPE_NAMES,
  type AttentionOptions,
  type AttentionShape,
} from './shape.js';
import { kernelsFor, partialBytes, type Capabilities, type Kernels } from './sizes.js';
import { subgroupTeam } from './subgroups.js';
import { readReach, type Rules } from './visibility.js';
import { warmUp } from './warm-up.js';
import { WorkBuffer } from './work-buffer.js';
import { writeWorkgroups } from './write-shader.js';

export interface WebGpuAttentionOptions extends AttentionOptions {
  /** The element type of query, key, value and output. Default: the model's own. Sums are always f32. */
  readonly activations?: DType;
}

export class WebGpuAttention {
  readonly shape: AttentionShape;
  readonly activations: DType;
  readonly #cache: WebGpuCache;
  readonly #kernel: KernelShape;
  readonly #kernels: Kernels;
  readonly #compiled: CompiledKernels;
  readonly #writeBindings: BindGroupCache;
  readonly #attendBindings: BindGroupCache;
  readonly #partials: GPUBuffer;
  readonly #work: WorkBuffer;
  /** By layer; made when first used, and again when the cache replaced a table by a larger one. */
  readonly #layers = new Map<number, LayerBindings>();
  #version: number;

  /**
   * Chooses the kernels by what the device can do and creates their pipelines, once a shape and device: none is
   * created later. See `warmUp` for drivers that put off compiling them. Rejects with `NO_MODEL` for a layout of bare groups, with `INVALID_OPTION` or `UNKNOWN_OPTION`, and with
   * `ATTENTION_SHAPE` where heads do not divide or a head is too long: `headDim` up to 512, 256 where it is not a
   * multiple of 4, 128 where it is odd (f32 only).
   */
  static async create(
    cache: WebGpuCache,
    options: WebGpuAttentionOptions,
  ): Promise<WebGpuAttention> {
    const given = readOptions('the attention', options, [...SHAPE_NAMES, 'activations']);
    const shape = attentionShape(cache.layout, given);
    const { device } = cache;
    const { blockSize, maxBlocksPerSequence } = cache.layout;
    const kernel: KernelShape = {
      ...shape,
      activations: readChoice('activations', given.activations, ['f32', 'f16'], shape.dtype),
      blockSize,
      maxBlocksPerSequence,
      hasHalves: device.features.has('shader-f16'),
      tokensAt: cache.tables.offsets.tokens,
      itemsPerRow: device.limits.maxComputeWorkgroupsPerDimension,
    };
    const kernels = kernelsFor(kernel, await capabilitiesOf(device));
    const compiled = await compileKernels(device, kernel, kernels);
    return new WebGpuAttention(cache, kernel, kernels, compiled);
  }

  private constructor(
    cache: WebGpuCache,
    kernel: KernelShape,
    kernels: Kernels,
    compiled: CompiledKernels,
  ) {
    const { device } = cache;
    const { layouts } = compiled;
    this.shape = kernel;
    this.activations = kernel.activations;
    this.#cache = cache;
    this.#kernel = kernel;
    this.#kernels = kernels;
    this.#compiled = compiled;
    this.#writeBindings = new BindGroupCache(device, layouts.writeTensors);
    this.#attendBindings = new BindGroupCache(device, layouts.attendTensors);
    this.#partials = device.createBuffer({
      label: 'pagedkv partial attention',
      size: kernels.work.partialRows * partialBytes(kernel.headDim),
      usage: BufferUsage.STORAGE,
    });
    const rules: Rules = readReach('the reach', undefined);
    this.#work = new WorkBuffer(device, layouts.work, rules, kernels.work);
    this.#version = cache.tables.version;
  }

  /**
   * Encodes the writing of a step's keys and values, each `[tokens, kvHeads, headDim]`, through the slot
   * mapping uploaded by the last `cache.execute(step)`; tokens of slot −1 are skipped.
   * Sets the pipeline and bind groups 0 and 1 of the pass.
   */
  encodeWrite(
    pass: GPUComputePassEncoder,
    layer: number,
    key: GPUBufferBinding,
    value: GPUBufferBinding,
  ): void {
    pass.setPipeline(this.#compiled.write);
    pass.setBindGroup(0, this.#layer(layer).write);
    pass.setBindGroup(1, this.#writeBindings.get(key, value));
    this.#dispatch(pass, writeWorkgroups(this.#kernel), this.#cache.tables.tokens);
  }

  /**
   * Encodes causal attention of `query` over all that its sequences have in memory, through the block tables
   * uploaded by the last `cache.execute(step)`, into `output`; both `[tokens, queryHeads, headDim]`.
   * Sets the pipeline and bind groups 0 to 2 of the pass. The pass must be submitted before the next step is
   * executed.
   */
  encodeAttend(
    pass: GPUComputePassEncoder,
    layer: number,
    query: GPUBufferBinding,
    output: GPUBufferBinding,
  ): void {
    const { kvHeads, queryHeads } = this.shape;
    const { singles, tiles, reductions } = this.#bindWork(pass);
    pass.setBindGroup(0, this.#layer(layer).attend);
    pass.setBindGroup(1, this.#attendBindings.get(query, output));
    pass.setPipeline(this.#compiled.single);
    this.#dispatch(pass, kvHeads * this.#kernels.singleShares, singles);
    pass.setPipeline(this.#compiled.tile);
    this.#dispatch(pass, this.#kernels.work.workgroupsPerItem, tiles);
    pass.setPipeline(this.#compiled.reduce);
    this.#dispatch(pass, queryHeads, reductions);
  }

  /**
   * Runs every kernel once, over nothing. Some drivers compile no sooner, which takes them seconds: awaited before
   * the first step, this keeps it out of there. Where nothing is left to compile it takes a millisecond.
   */
  warmUp(): Promise<void> {
    return warmUp(this.#cache, this.#compiled, this.#partials);
  }

  /** Lets go of the memory for partial results; what was compiled stays with the device. */
  destroy(): void {
    this.#partials.destroy();
    this.#work.destroy();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  #bindWork(pass: GPUComputePassEncoder): WorkBuffer['work'] {
    pass.setBindGroup(2, this.#work.of(this.#cache.tables));
    return this.#work.work;
  }

  #dispatch(pass: GPUComputePassEncoder, workgroupsPerItem: number, items: number): void {
    if (items === 0) return;
    const { itemsPerRow } = this.#kernel;
    const rows = Math.ceil(items / itemsPerRow);
    pass.dispatchWorkgroups(workgroupsPerItem, Math.min(items, itemsPerRow), rows);
  }

  #layer(layer: number): LayerBindings {
    const { tables } = this.#cache;
    if (this.#version !== tables.version) {
      this.#layers.clear();
      this.#version = tables.version;
    }
    const known = this.#layers.get(layer);
    if (known !== undefined) return known;
    const made = bindLayer(this.#cache, this.#compiled.layouts, layer, {
      lists: tables.lists,
      partials: this.#partials,
    });
    this.#layers.set(layer, made);
    return made;
  }
}

async function capabilitiesOf(device: GPUDevice): Promise<Capabilities> {
  return {
    isSoftware: isSoftware(device.adapterInfo),
    team: await subgroupTeam(device),
    maxWorkgroupStorage: device.limits.maxComputeWorkgroupStorageSize,
  };
}
