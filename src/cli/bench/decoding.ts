/** Whether decoding on a GPU keeps its rate while blocks are swapped beside it. */
import { WebGpuAttention } from '../../attention/webgpu.js';
import { BufferUsage } from '../../device/flags.js';
import type { HasLayout } from '../../device/layout.js';
import { WebGpuCache } from '../../device/webgpu.js';
import { KvCacheManager, type BatchEntry } from '../../manager.js';
import type { Executable, ModelShape } from '../../plan.js';
import type { Sequence } from '../../sequence.js';
import type { Step } from '../../step.js';
import { movesOf, scattered, workOf } from './blocks.js';
import { alternate, median, type Line } from './line.js';

const BLOCK_SIZE = 16;
const ACTIVATION_BYTES = 4;

export interface DecodingSetup {
  readonly model: ModelShape;
  readonly queryHeads: number;
  readonly sequences: number;
  /** Of each sequence, before the first pass. */
  readonly tokens: number;
  /** In a turn; beside them one conversation as long as a sequence leaves, and another comes back. */
  readonly passes: number;
}

/** Of a model with 1.5 billion parameters. */
const DEFAULTS: DecodingSetup = {
  model: { layers: 28, kvHeads: 2, headDim: 128, dtype: 'f16' },
  queryHeads: 12,
  sequences: 16,
  tokens: 2048,
  passes: 20,
};

/** Passes a second beside swaps, against passes without. By default it takes a gigabyte of the device. */
export async function measureDecoding(
  device: GPUDevice,
  turns?: number,
  given: Partial<DecodingSetup> = {},
): Promise<Line> {
  const setup = { ...DEFAULTS, ...given };
  const { sequences, tokens, passes } = setup;
  using decoder = await Decoder.make(device, setup);
  const besideSwaps = async (): Promise<number> => {
    const [seconds] = await Promise.all([decoder.seconds(), decoder.swap()]);
    return seconds;
  };
  const taken = await alternate(besideSwaps, () => decoder.seconds(), turns);
  return {
    name: `decode ${sequences} sequences of ${tokens} tokens, in ${passes} passes one swapped out and one in`,
    value: passes / median(taken.map(({ own }) => own)),
    unit: 'passes/s',
    yardstick: 'the same passes without swaps',
    ratio: median(taken.map(({ own, other }) => other / own)),
  };
}

/** A batch of sequences of which each pass writes and attends to one more token, over all layers. */
class Decoder implements Disposable {
  readonly #setup: DecodingSetup;
  readonly #kv: KvCacheManager;
  readonly #cache: WebGpuCache;
  readonly #attention: WebGpuAttention;
  readonly #prompts: readonly Uint32Array[];
  readonly #sequences: readonly Sequence[];
  readonly #buffers: Readonly<Record<'key' | 'value' | 'query' | 'output', GPUBuffer>>;
  readonly #swaps: readonly Executable[];

  static async make(device: GPUDevice, setup: DecodingSetup): Promise<Decoder> {
    const { model, queryHeads, sequences, tokens, passes } = setup;
    const longest = Math.ceil((tokens + passes) / BLOCK_SIZE) * BLOCK_SIZE;
    const kv = new KvCacheManager({
      model,
      blockSize: BLOCK_SIZE,
      device: { blocks: (sequences * longest) / BLOCK_SIZE },
      maxSequences: sequences,
      maxSequenceTokens: longest,
      maxBatchTokens: tokens,
    });
    const cache = await WebGpuCache.create(device, withSwapped(kv, swappedBlocks(setup)));
    const attention = await WebGpuAttention.create(cache, { queryHeads });
    const decoder = new Decoder(setup, kv, cache, attention);
    await decoder.#prefill();
    return decoder;
  }

  private constructor(
    setup: DecodingSetup,
    kv: KvCacheManager,
    cache: WebGpuCache,
    attention: WebGpuAttention,
  ) {
    this.#setup = setup;
    this.#kv = kv;
    this.#cache = cache;
    this.#attention = attention;
    const { model, queryHeads, sequences, tokens } = setup;
    this.#prompts = Array.from({ length: sequences }, (_, i) =>
      // No two begin alike.
      Uint32Array.from({ length: tokens }, (__, position) => i + position),
    );
    this.#sequences = this.#prompts.map((prompt) => kv.open(prompt));
    const buffer = (heads: number): GPUBuffer =>
      cache.device.createBuffer({
        label: 'activations',
        size: sequences * heads * model.headDim * ACTIVATION_BYTES,
        usage: BufferUsage.STORAGE,
      });
    this.#buffers = {
      key: buffer(model.kvHeads),
      value: buffer(model.kvHeads),
      query: buffer(queryHeads),
      output: buffer(queryHeads),
    };
    this.#swaps = swapsOf(kv, swappedBlocks(setup));
  }

  /** That some passes take, each waited for as an engine waits for its tokens. */
  async seconds(): Promise<number> {
    const begin = performance.now();
    for (let pass = 0; pass < this.#setup.passes; pass++) await this.#pass();
    const seconds = (performance.now() - begin) / 1000;
    for (const sequence of this.#sequences) sequence.truncate(this.#setup.tokens);
    return seconds;
  }

  /** Of blocks that no sequence has. */
  async swap(): Promise<void> {
    await Promise.all(this.#swaps.map((work) => this.#cache.execute(work)));
  }

  [Symbol.dispose](): void {
    this.#cache.destroy();
    this.#kv.close();
    for (const each of Object.values(this.#buffers)) each.destroy();
  }

  /** As far as the tables tell: what keys and values are does not matter. */
  async #prefill(): Promise<void> {
    for (const [i, sequence] of this.#sequences.entries()) {
      const step = this.#schedule([{ sequence, tokens: this.#prompts[i]! }]);
      await this.#cache.execute(step);
      step.commit();
    }
  }

  #schedule(batch: readonly BatchEntry[]): Step {
    const step = this.#kv.schedule(batch);
    if (!step.ok) throw new Error('there is a block for every token');
    return step;
  }

  async #pass(): Promise<void> {
    const { device } = this.#cache;
    const step = this.#schedule(this.#sequences.map((sequence) => ({ sequence, tokens: [0] })));
    const execution = this.#cache.execute(step);
    await execution.submitted;
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let layer = 0; layer < this.#setup.model.layers; layer++) this.#encode(pass, layer);
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    await execution;
    step.commit();
  }

  #encode(pass: GPUComputePassEncoder, layer: number): void {
    const { key, value, query, output } = this.#buffers;
    this.#attention.encodeWrite(pass, layer, { buffer: key }, { buffer: value });
    this.#attention.encodeAttend(pass, layer, { buffer: query }, { buffer: output });
  }
}

/** Of a conversation as long as a sequence. */
function swappedBlocks({ tokens }: DecodingSetup): number {
  return Math.ceil(tokens / BLOCK_SIZE);
}

/** Blocks beside those of the manager, in both tiers, for one conversation to leave and another to come back. */
function withSwapped({ layout }: HasLayout, blocks: number): HasLayout {
  const groups = layout.groups.map((group) => ({
    ...group,
    deviceBlocks: group.deviceBlocks + 4 * blocks,
    hostBlocks: 4 * blocks,
  }));
  return { layout: { ...layout, groups } };
}

/** One out, one in. */
function swapsOf({ layout }: HasLayout, blocks: number): readonly Executable[] {
  const first = layout.groups[0]!.deviceBlocks;
  const near = scattered(2 * blocks, 1).map((block) => first + block);
  const host = scattered(2 * blocks, 2);
  return [
    workOf({ offloads: movesOf(near.slice(0, blocks), host.slice(0, blocks)) }),
    workOf({ onboards: movesOf(host.slice(blocks), near.slice(blocks)) }),
  ];
}
