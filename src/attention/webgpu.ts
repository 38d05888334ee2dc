/// <reference types="@webgpu/types" />
/** Attention over paged KV memory on a GPU: encodes the kernels into the engine's own passes. */
import { isSoftware } from '../device/adapter.js';
import { PagedKvError } from '../errors.js';
import type { WebGpuCache } from '../device/webgpu.js';
import type { DType } from '../plan.js';
import { readChoice, readOptions } from '../validate.js';
import { BindGroupCache } from './bind-groups.js';
import { vectorWidth } from './elements.js';
import {
  attendShader,
  attendWorkgroup,
  MAX_ATTEND_WORKGROUP,
  writeShader,
  writeWorkgroups,
  type KernelShape,
} from './kernels.js';
import {
  attentionShape,
  groupOfLayer,
  SHAPE_NAMES,
  type AttentionOptions,
  type AttentionShape,
} from './shape.js';

export interface WebGpuAttentionOptions extends AttentionOptions {
  /** The element type of query, key, value and output. Default: the model's own. Sums are always f32. */
  readonly activations?: DType;
}

/** The bind groups of one layer, over the buffers of the cache. */
interface LayerBindings {
  readonly write: GPUBindGroup;
  readonly attend: GPUBindGroup;
}

export class WebGpuAttention {
  readonly shape: AttentionShape;
  readonly activations: DType;
  readonly #cache: WebGpuCache;
  readonly #writePipeline: GPUComputePipeline;
  readonly #attendPipeline: GPUComputePipeline;
  readonly #writeWorkgroups: number;
  readonly #tokensPerRow: number;
  readonly #writeBindings: BindGroupCache;
  readonly #attendBindings: BindGroupCache;
  /** By layer; made when first used, and again when the cache replaced a table by a larger one. */
  readonly #layers = new Map<number, LayerBindings>();
  #version: number;

  /**
   * Compiles the kernels. Rejects with `NO_MODEL` for a layout of bare groups, with `INVALID_OPTION` or
   * `UNKNOWN_OPTION`, and with `ATTENTION_SHAPE` where heads do not divide or a head is too long: `headDim` up to 512, 256 where it
   * is not a multiple of 4, 128 where it is odd (f32 only).
   */
  static async create(
    cache: WebGpuCache,
    options: WebGpuAttentionOptions,
  ): Promise<WebGpuAttention> {
    const given = readOptions('the attention', options, [...SHAPE_NAMES, 'activations']);
    const shape = attentionShape(cache.layout, given);
    checkHead(shape.headDim);
    const { blockSize, maxBlocksPerSequence } = cache.layout;
    const kernel: KernelShape = {
      ...shape,
      activations: readChoice('activations', given.activations, ['f32', 'f16'], shape.dtype),
      blockSize,
      maxBlocksPerSequence,
      offsets: cache.tables.offsets,
      tokensPerRow: cache.device.limits.maxComputeWorkgroupsPerDimension,
      workgroup: attendWorkgroup(shape.headDim, isSoftware(cache.device.adapterInfo)),
    };
    const [write, attend] = await Promise.all([
      compile(cache.device, 'write', writeShader(kernel)),
      compile(cache.device, 'attend', attendShader(kernel)),
    ]);
    return new WebGpuAttention(cache, kernel, write, attend);
  }

  private constructor(
    cache: WebGpuCache,
    kernel: KernelShape,
    write: GPUComputePipeline,
    attend: GPUComputePipeline,
  ) {
    this.shape = kernel;
    this.activations = kernel.activations;
    this.#cache = cache;
    this.#writePipeline = write;
    this.#attendPipeline = attend;
    this.#writeWorkgroups = writeWorkgroups(kernel);
    this.#tokensPerRow = kernel.tokensPerRow;
    this.#writeBindings = new BindGroupCache(cache.device, write.getBindGroupLayout(1));
    this.#attendBindings = new BindGroupCache(cache.device, attend.getBindGroupLayout(1));
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
    pass.setPipeline(this.#writePipeline);
    pass.setBindGroup(0, this.#layer(layer).write);
    pass.setBindGroup(1, this.#writeBindings.get(key, value));
    this.#dispatch(pass, this.#writeWorkgroups);
  }

  /**
   * Encodes causal attention of `query` over all that its sequences have in memory, through the block tables
   * uploaded by the last `cache.execute(step)`, into `output`; both `[tokens, queryHeads, headDim]`.
   * Sets the pipeline and bind groups 0 and 1 of the pass.
   */
  encodeAttend(
    pass: GPUComputePassEncoder,
    layer: number,
    query: GPUBufferBinding,
    output: GPUBufferBinding,
  ): void {
    pass.setPipeline(this.#attendPipeline);
    pass.setBindGroup(0, this.#layer(layer).attend);
    pass.setBindGroup(1, this.#attendBindings.get(query, output));
    this.#dispatch(pass, this.shape.queryHeads);
  }

  #dispatch(pass: GPUComputePassEncoder, workgroupsPerToken: number): void {
    const { tokens } = this.#cache.tables;
    if (tokens === 0) return;
    const rows = Math.ceil(tokens / this.#tokensPerRow);
    pass.dispatchWorkgroups(workgroupsPerToken, Math.min(tokens, this.#tokensPerRow), rows);
  }

  #layer(layer: number): LayerBindings {
    const { tables } = this.#cache;
    if (this.#version !== tables.version) {
      this.#layers.clear();
      this.#version = tables.version;
    }
    const known = this.#layers.get(layer);
    if (known !== undefined) return known;
    const made = this.#bindLayer(layer);
    this.#layers.set(layer, made);
    return made;
  }

  #bindLayer(layer: number): LayerBindings {
    const { tables } = this.#cache;
    const group = groupOfLayer(this.#cache.layout, layer);
    const planes = [this.#cache.key(layer), this.#cache.value(layer)];
    const bind = (pipeline: GPUComputePipeline, table: GPUBuffer): GPUBindGroup =>
      this.#cache.device.createBindGroup({
        label: `pagedkv layer ${layer}`,
        layout: pipeline.getBindGroupLayout(0),
        entries: [{ buffer: tables.lists }, { buffer: table }, ...planes].map(
          (resource, binding) => ({ binding, resource }),
        ),
      });
    return {
      write: bind(this.#writePipeline, tables.slotMappings[group]!),
      attend: bind(this.#attendPipeline, tables.blockTables[group]!),
    };
  }
}

function compile(device: GPUDevice, name: string, code: string): Promise<GPUComputePipeline> {
  const label = `pagedkv ${name}`;
  const module = device.createShaderModule({ label, code });
  return device.createComputePipelineAsync({ label, layout: 'auto', compute: { module } });
}

/** Every vector of a head must have an invocation. */
function checkHead(headDim: number): void {
  const longest = MAX_ATTEND_WORKGROUP * vectorWidth(headDim);
  if (headDim <= longest) return;
  throw new PagedKvError(
    'ATTENTION_SHAPE',
    `a head of ${headDim} is longer than the ${longest} that the kernels support`,
  );
}
