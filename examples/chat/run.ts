/** A whole run: the chats over the manager, the same over contiguous caches, and what came of it. */
import { KvCacheManager, type Stats } from '../../src/index.js';
import { openBackend, type Backend, type Model } from './backend.js';
import { FailingPieces } from './faults.js';
import { describeModel, keyValueBytes, smallModel } from './model/config.js';
import type { EngineLimits } from './model/engine.js';
import { readModel } from './model/llama-file.js';
import { seededWeights } from './model/weights.js';
import type { Options } from './options.js';
import { choosePool, type PoolSizes } from './pool.js';
import { drawPool, LiveLine } from './progress.js';
import { loadPrompts, type PromptSet } from './prompts.js';
import type { Reply, Sampling } from './reply.js';
import { formatBytes, type Outcome } from './report.js';
import { Server, type Progress, type Served } from './serve.js';
import { compare, generateContiguous } from './verify.js';

/** What both runs work from. */
interface Job {
  readonly options: Options;
  readonly prompts: PromptSet;
  readonly model: Model;
  readonly pool: PoolSizes;
  readonly sampling: Sampling;
  readonly limits: EngineLimits;
  readonly live: LiveLine;
}

interface Timed<T> {
  readonly result: T;
  readonly seconds: number;
}

/** Contiguous caches of the checking run are made for as many sequences at once as fit in this. */
const laneBudget = 256 * 1024 ** 2;

/** `say` gets what is worth printing before the result; `live`, what changes while it runs. */
export async function run(
  options: Options,
  say: (message: string) => void,
  live = new LiveLine(),
): Promise<Outcome> {
  const job = prepare(options, live);
  const backend = await openBackend(options.device, say);
  try {
    introduce(job, backend, say);
    const served = await timed(() => servePaged(job, backend));
    backend.check();
    const checked = await timed(() => generateAgain(job, backend));
    backend.check();
    const { replies, ...counts } = served.result;
    return {
      backend: backend.kind,
      adapter: backend.adapter,
      model: describeModel(job.model.config),
      chats: job.prompts.conversations.length,
      turns: options.turns,
      samples: options.samples,
      ...counts,
      comparison: compare(replies, checked.result),
      pagedSeconds: served.seconds,
      contiguousSeconds: checked.seconds,
      replies,
    };
  } finally {
    backend.close();
  }
}

function prepare(options: Options, live: LiveLine): Job {
  const prompts = loadPrompts(options.prompts, options);
  const model =
    options.model === undefined
      ? { config: smallModel, weights: seededWeights(smallModel, options.seed) }
      : readModel(options.model);
  const pool = choosePool(prompts, options);
  const { seed, temperature, newTokens, samples } = options;
  const sequences = prompts.conversations.length * samples;
  return {
    options,
    prompts,
    model,
    pool,
    sampling: { seed, temperature, newTokens, samples, vocabulary: model.config.vocabulary },
    limits: {
      // A step has a token of every reply under way, whatever its budget for prompts.
      passTokens: Math.max(options.batchTokens, sequences),
      passSequences: sequences,
      sequenceTokens: pool.longestTokens,
    },
    live,
  };
}

function introduce(job: Job, backend: Backend, say: (message: string) => void): void {
  const { options, prompts, pool, model } = job;
  const blockBytes = keyValueBytes(model.config) * options.blockSize;
  say(`${backend.adapter}; ${describeModel(model.config)}; seed ${options.seed}`);
  say(
    `${prompts.conversations.length} chats (at most ${options.chats}), ${options.turns} turns, ` +
      `${options.samples} samples, ${options.newTokens} tokens a reply; system prompt of ` +
      `${prompts.system.length} tokens, user texts of at most ${options.promptTokens}`,
  );
  for (const note of prompts.notes) say(note);
  say(
    `pool: ${pool.deviceBlocks} device blocks where ${pool.wantedBlocks} are wanted, ${pool.hostBlocks} on ` +
      `the host; ${formatBytes(blockBytes)} a block of ${options.blockSize} tokens`,
  );
}

/** What came of the run over the manager. */
interface PagedRun extends Served {
  readonly stats: Stats;
  readonly pieces: Pick<FailingPieces, 'pieces' | 'failed'>;
}

async function servePaged(job: Job, backend: Backend): Promise<PagedRun> {
  const { options, prompts, model, pool, limits, live, sampling } = job;
  const { layers, kvHeads, headDim } = model.config;
  const kv = new KvCacheManager({
    model: { layers, kvHeads, headDim, dtype: 'f32' },
    blockSize: options.blockSize,
    device: { blocks: pool.deviceBlocks },
    ...(pool.hostBlocks > 0 ? { host: { blocks: pool.hostBlocks } } : {}),
    // One more for the prompt that comes from the host beside a pass.
    maxSequences: limits.passSequences,
    maxSequenceTokens: limits.sequenceTokens,
    maxBatchSequences: limits.passSequences,
    maxBatchTokens: limits.passTokens,
  });
  const pieces = new FailingPieces(options.failTransfers, options.seed);
  const intercept = options.failTransfers > 0 ? pieces.intercept : undefined;
  const engine = await backend.paged(kv, model, limits, intercept);
  try {
    const server = new Server(kv, engine, prompts, {
      sampling,
      batchTokens: limits.passTokens,
      abortEvery: options.abortEvery,
      corrupt: options.corrupt,
    });
    const total =
      prompts.conversations.length * options.turns * options.samples * options.newTokens;
    const served = await server.run((progress) => {
      live.show(() => poolLine(progress, kv.stats(), total));
    });
    kv.validate();
    return { ...served, stats: kv.stats(), pieces };
  } finally {
    live.clear();
    engine.destroy();
    kv.close();
  }
}

function poolLine(progress: Progress, { device, host, hitTokens }: Stats, total: number): string {
  const { drawn, running, preempted, waiting, step } = progress;
  return (
    `paged ${drawn}/${total} tokens, step ${step} ` +
    `[${drawPool(device.held, device.cached, device.total, 24)}] ${device.held} held ${device.cached} cached ` +
    `${device.free} free, host ${host.held}+${host.cached}/${host.total}, hits ${hitTokens}, ` +
    `run ${running} out ${preempted} wait ${waiting}`
  );
}

async function generateAgain(job: Job, backend: Backend): Promise<Reply[]> {
  const { options, prompts, model, limits, live, sampling } = job;
  const laneBytes = keyValueBytes(model.config) * limits.sequenceTokens;
  const lanes = Math.max(
    options.samples,
    Math.min(limits.passSequences, Math.floor(laneBudget / laneBytes)),
  );
  const engine = backend.contiguous(model, limits, lanes);
  const total = prompts.conversations.length * options.turns * options.samples * options.newTokens;
  try {
    return await generateContiguous(prompts, sampling, { engine, limits, lanes }, (drawn) => {
      live.show(() => `contiguous ${drawn}/${total} tokens`);
    });
  } finally {
    live.clear();
    engine.destroy();
  }
}

async function timed<T>(work: () => Promise<T>): Promise<Timed<T>> {
  const start = performance.now();
  const result = await work();
  return { result, seconds: (performance.now() - start) / 1000 };
}
