/** What the example runs: texts written side by side, and all that can happen to one. */
import { KvCacheManager, type Stats } from '../../src/index.js';
import type { ModelConfig } from '../chat/model/config.js';
import { seededWeights } from '../chat/model/weights.js';
import { KvMemory } from './kv-memory.js';
import { Loop } from './loop.js';
import { PagedModel } from './model.js';
import { compare, roundWeights, type Comparison } from './reference.js';

export interface StoryOptions {
  readonly seed: number;
  /** Overwrites a block in use behind the manager's back. */
  readonly corrupt: boolean;
}

export interface Outcome {
  readonly comparison: Comparison;
  readonly passes: number;
  readonly stats: Stats;
  /** Tokens of each prompt that were found in memory, by the name of its text. */
  readonly cached: Readonly<Record<string, number>>;
  /** The first pass makes ONNX Runtime compile its shaders. */
  readonly firstPassSeconds: number;
  readonly otherPassesSeconds: number;
}

const config: ModelConfig = {
  layers: 2,
  hidden: 128,
  heads: 4,
  kvHeads: 2,
  headDim: 32,
  inner: 256,
  vocabulary: 256,
  ropeTheta: 10_000,
  epsilon: 1e-5,
};
const maxTokens = 256;
const temperature = 0.9;
/**
 * From 32 query tokens of one sequence on, ONNX Runtime takes another kernel, which on the software driver is off
 * by 3%: prompts are computed in chunks of less.
 */
const chunkTokens = 24;

const system = 'You answer letters of readers. Be brief, be kind, and never give away the plot. ';

export async function tellStory({ seed, corrupt }: StoryOptions): Promise<Outcome> {
  const { layers, kvHeads, headDim, vocabulary } = config;
  const kv = new KvCacheManager({
    model: { layers, kvHeads, headDim, dtype: 'f16' },
    blockSize: 16,
    device: { blocks: 26 },
    host: { blocks: 40 },
    maxSequenceTokens: maxTokens,
    alwaysWrites: true, // The operator takes no slot mapping on WebGPU: it writes every query token.
  });
  const weights = roundWeights(seededWeights(config, seed));
  const memory = await KvMemory.create(kv.layout);
  const model = await PagedModel.create(kv, memory, config, weights, maxTokens);
  const loop = new Loop(kv, memory, model, { seed, vocabulary, temperature, chunkTokens });

  const begin = performance.now();
  const ants = loop.open('ants', bytes(`${system}Why do ants walk in lines?`));
  await loop.run(1);
  const compiled = performance.now();
  await loop.run(7);

  // Others come while it is being written, and find what they share with it.
  const bees = loop.open('bees', bytes(`${system}Do bees sleep at night?`));
  const owls = loop.open('owls', bytes(`${system}How far does an owl hear?`));
  await loop.run(6);

  // All of this prompt is in memory, to the end of a block. Its last token is computed for the logits alone, but the
  // operator writes it all the same: the block is copied first.
  const echo = loop.open('echo', ants.tokens.slice(0, 96));
  if (corrupt) await memory.copy(Int32Array.of(0), Int32Array.of(1));
  await loop.run(4);

  // Two go on from one text. The first to write copies the block that is partly filled.
  const ants2 = loop.fork(ants, 'ants2');
  await loop.run(6);

  // The reader of this text changes a word and what came after it.
  loop.edit(bees, system.length + 8, bytes('wasps dream?'));
  await loop.run(6);

  // This one gives way, for a while.
  await loop.swapOut(owls);
  await loop.run(4);
  const hares = loop.open('hares', bytes(`${system}Are hares and rabbits friends?`));
  await loop.run(4);
  loop.running.add(owls);
  await loop.run(6);

  const opened = [ants, bees, owls, echo, hares];
  const cached = Object.fromEntries(
    opened.map(({ name, sequence }) => [name, sequence.cachedTokens]),
  );
  for (const stream of [...opened, ants2]) loop.close(stream);
  const seconds = (from: number, to: number): number => (to - from) / 1000;
  const otherPassesSeconds = seconds(compiled, performance.now());
  kv.validate();
  return {
    comparison: await compare(loop.written, config, weights, temperature),
    passes: loop.passes,
    stats: kv.stats(),
    cached,
    firstPassSeconds: seconds(begin, compiled),
    otherPassesSeconds,
  };
}

function bytes(text: string): number[] {
  return [...Buffer.from(text)];
}
