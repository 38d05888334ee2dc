/** The model on WebGPU: one compute pass a forward pass, one read-back of the logits that are wanted. */
import { type ModelConfig, projectionWidth } from './config.js';
import type { EngineLimits, Logits, Pass } from './engine.js';
import {
  embedKernel,
  gateKernel,
  lastNormKernel,
  normKernel,
  productKernel,
  splitKernel,
  workgroup,
} from './gpu-kernels.js';
import { ropeTables } from './rope.js';
import type { LayerWeights, Weights } from './weights.js';

/** What attention reads and writes, `[tokens, heads, headDim]` in f32; the same buffers in every layer. */
export interface GpuRows {
  readonly queries: GPUBuffer;
  /** `[tokens, kvHeads, headDim]`. */
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
  readonly attended: GPUBuffer;
}

/** Encodes one layer's stores of new keys and values, then its attention. */
export type GpuAttend = (pass: GPUComputePassEncoder, layer: number) => void;

/** A kernel with its buffers bound. */
interface Kernel {
  readonly pipeline: GPUComputePipeline;
  readonly bindings: GPUBindGroup;
  /** Workgroups across, given; down, one for every `rowsPerGroup` rows of `rows`; `across` 0: rows across. */
  readonly across: number;
  readonly rowsPerGroup: number;
  readonly rows: 'tokens' | 'wanted';
}

interface Layer {
  readonly beforeAttention: readonly Kernel[];
  readonly afterAttention: readonly Kernel[];
}

export class GpuModel {
  readonly rows: GpuRows;
  readonly #device: GPUDevice;
  readonly #config: ModelConfig;
  readonly #buffers: GPUBuffer[] = [];
  readonly #pipelines = new Map<string, GPUComputePipeline>();
  readonly #counts: GPUBuffer;
  readonly #ids: GPUBuffer;
  readonly #positions: GPUBuffer;
  readonly #wanted: GPUBuffer;
  readonly #logits: GPUBuffer;
  readonly #readBack: GPUBuffer;
  readonly #result: Float32Array<ArrayBuffer>;
  readonly #embed: Kernel;
  readonly #layers: readonly Layer[];
  readonly #last: readonly Kernel[];

  constructor(device: GPUDevice, config: ModelConfig, weights: Weights, limits: EngineLimits) {
    const { hidden, heads, kvHeads, headDim, inner, vocabulary } = config;
    this.#device = device;
    this.#config = config;
    this.#counts = this.#buffer(8, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
    this.#ids = this.#storage(limits.passTokens);
    this.#positions = this.#storage(limits.passTokens);
    this.#wanted = this.#storage(limits.passSequences);

    const paddedRows = Math.ceil(limits.passTokens / 4) * 4;
    const paddedWanted = Math.ceil(limits.passSequences / 4) * 4;
    const stream = this.#storage(paddedRows * hidden);
    const normed = this.#storage(paddedRows * hidden);
    const lastNormed = this.#storage(paddedWanted * hidden);
    const projected = this.#storage(paddedRows * projectionWidth(config));
    const gateUp = this.#storage(paddedRows * 2 * inner);
    const gated = this.#storage(paddedRows * inner);
    this.rows = {
      queries: this.#storage(paddedRows * heads * headDim),
      keys: this.#storage(paddedRows * kvHeads * headDim),
      values: this.#storage(paddedRows * kvHeads * headDim),
      attended: this.#storage(paddedRows * heads * headDim),
    };
    this.#logits = this.#storage(paddedWanted * vocabulary);
    const logitBytes = limits.passSequences * vocabulary * 4;
    this.#readBack = this.#buffer(logitBytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
    this.#result = new Float32Array(limits.passSequences * vocabulary);

    const rope = this.#upload(interleave(ropeTables(config, limits.sequenceTokens)));
    const norm = (gain: Float32Array): Kernel =>
      this.#kernel(normKernel(config), [stream, this.#upload(gain), normed], 0);
    const product = (
      input: GPUBuffer,
      matrix: Float32Array,
      out: GPUBuffer,
      outputs: number,
      mode: 'set' | 'add',
    ): Kernel => {
      const code = productKernel(matrix.length / outputs, outputs, 'tokens', mode);
      return this.#kernel(code, [input, this.#upload(matrix), out], outputs / 4, 4);
    };
    const layer = (w: LayerWeights): Layer => ({
      beforeAttention: [
        norm(w.attentionNorm),
        product(normed, w.projection, projected, projectionWidth(config), 'set'),
        this.#kernel(
          splitKernel(config),
          [this.#positions, rope, projected, this.rows.queries, this.rows.keys, this.rows.values],
          projectionWidth(config) / 2,
        ),
      ],
      afterAttention: [
        product(this.rows.attended, w.output, stream, hidden, 'add'),
        norm(w.feedForwardNorm),
        product(normed, w.gateUp, gateUp, 2 * inner, 'set'),
        this.#kernel(gateKernel(config), [gateUp, gated], inner / 4),
        product(gated, w.down, stream, hidden, 'add'),
      ],
    });
    this.#embed = this.#kernel(
      embedKernel(config),
      [this.#ids, this.#upload(weights.embedding), stream],
      hidden / 4,
    );
    this.#layers = weights.layers.map(layer);
    this.#last = [
      this.#kernel(
        lastNormKernel(config),
        [stream, this.#upload(weights.norm), lastNormed, this.#wanted],
        0,
        1,
        'wanted',
      ),
      this.#kernel(
        productKernel(hidden, vocabulary, 'wanted', 'set'),
        [lastNormed, this.#upload(weights.head), this.#logits],
        vocabulary / 4,
        4,
        'wanted',
      ),
    ];
  }

  async forward(pass: Pass, attend: GpuAttend): Promise<Logits> {
    const { queue } = this.#device;
    const tokens = pass.ids.length;
    const wanted = pass.wanted.length;
    queue.writeBuffer(this.#counts, 0, new Uint32Array([tokens, wanted]));
    queue.writeBuffer(this.#ids, 0, pass.ids);
    queue.writeBuffer(this.#positions, 0, pass.positions);
    if (wanted > 0) queue.writeBuffer(this.#wanted, 0, pass.wanted);

    const encoder = this.#device.createCommandEncoder();
    const compute = encoder.beginComputePass();
    const dispatch = (kernel: Kernel): void => {
      const rows = kernel.rows === 'tokens' ? tokens : wanted;
      compute.setPipeline(kernel.pipeline);
      compute.setBindGroup(0, kernel.bindings);
      if (kernel.across === 0) compute.dispatchWorkgroups(Math.ceil(rows / workgroup));
      else compute.dispatchWorkgroups(kernel.across, Math.ceil(rows / kernel.rowsPerGroup));
    };
    dispatch(this.#embed);
    this.#layers.forEach((layer, index) => {
      layer.beforeAttention.forEach(dispatch);
      attend(compute, index);
      layer.afterAttention.forEach(dispatch);
    });
    if (wanted > 0) this.#last.forEach(dispatch);
    compute.end();

    const bytes = wanted * this.#config.vocabulary * 4;
    if (wanted > 0) encoder.copyBufferToBuffer(this.#logits, 0, this.#readBack, 0, bytes);
    queue.submit([encoder.finish()]);
    if (wanted === 0) await queue.onSubmittedWorkDone();
    else await this.#download(bytes);
    return this.#result;
  }

  destroy(): void {
    for (const buffer of this.#buffers) buffer.destroy();
  }

  async #download(bytes: number): Promise<void> {
    await this.#readBack.mapAsync(GPUMapMode.READ, 0, bytes);
    this.#result.set(new Float32Array(this.#readBack.getMappedRange(0, bytes)));
    this.#readBack.unmap();
  }

  /** `columns`: invocations across; 0 when one invocation takes a whole row. */
  #kernel(
    code: string,
    buffers: readonly GPUBuffer[],
    columns: number,
    rowsPerGroup = 1,
    rows: 'tokens' | 'wanted' = 'tokens',
  ): Kernel {
    const pipeline = this.#pipeline(code);
    const bindings = this.#device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [this.#counts, ...buffers].map((buffer, binding) => ({
        binding,
        resource: { buffer },
      })),
    });
    return { pipeline, bindings, across: Math.ceil(columns / workgroup), rowsPerGroup, rows };
  }

  #pipeline(code: string): GPUComputePipeline {
    const known = this.#pipelines.get(code);
    if (known) return known;
    const module = this.#device.createShaderModule({ code });
    const pipeline = this.#device.createComputePipeline({ layout: 'auto', compute: { module } });
    this.#pipelines.set(code, pipeline);
    return pipeline;
  }

  #upload(data: Float32Array): GPUBuffer {
    const buffer = this.#storage(data.length);
    this.#device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }

  #storage(elements: number): GPUBuffer {
    const { STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    return this.#buffer(elements * 4, STORAGE | COPY_DST | COPY_SRC);
  }

  #buffer(bytes: number, usage: number): GPUBuffer {
    const buffer = this.#device.createBuffer({ size: Math.ceil(bytes / 4) * 4, usage });
    this.#buffers.push(buffer);
    return buffer;
  }
}

function interleave({
  cosines,
  sines,
}: {
  cosines: Float32Array;
  sines: Float32Array;
}): Float32Array {
  const pairs = new Float32Array(cosines.length * 2);
  for (let i = 0; i < cosines.length; i++) {
    pairs[2 * i] = cosines[i]!;
    pairs[2 * i + 1] = sines[i]!;
  }
  return pairs;
}
