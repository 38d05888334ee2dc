/**
 * Replays a trace through a manager, one request after the other: the prompt is opened, what it does not
 * find is scheduled and committed, then the blocks of its output, then it is closed.
 */
import type { Batch, KvCacheManager, OutOfBlocks, Sequence, Step } from '../../index.js';
import type { HostMode } from '../../options.js';
import { endRequest, makeManager, type Hint, type Policy } from './manager.js';
import { ChainTokens } from './tokens.js';
import { Pauses } from './pauses.js';
import type { Requests, Trace } from './trace.js';

export interface Setup {
  readonly policy: Policy;
  readonly deviceBlocks: number;
  /** 0 for no host tier. */
  readonly hostBlocks: number;
  readonly hostMode: HostMode;
  /** Whether the manager is told what the trace tells of the time after a request. */
  readonly hints: boolean;
}

export interface Counts {
  /** Blocks of prompts found in memory. */
  readonly hitBlocks: number;
  /** Of these, as many tokens as the prompts have. */
  readonly hitTokens: number;
  /** Blocks lost for good. */
  readonly evictions: number;
  /** Blocks copied to the host. */
  readonly offloads: number;
  /** Blocks moved back to the device. */
  readonly onboards: number;
  readonly seconds: number;
}

/** Tokens of one step: few enough that they stay in the processor's cache on their way through. */
const STEP_TOKENS = 2 ** 15;

/**
 * Blocks that come back from the host at once. While they do, as many more that leave the device for the
 * host stand there beside them, so that what the tiers keep at rest is less than their blocks by as many.
 */
const PIECE_BLOCKS = 16;

/** A request that is longer than the device tier uses only as many of its first blocks. */
export function replay(trace: Trace, setup: Setup, onRequest: (request: number) => void): Counts {
  const run = new ReplayRun(trace, setup);
  const begin = performance.now();
  for (let request = 0; request < trace.requests.count; request++) {
    run.take(request);
    onRequest(request);
  }
  return run.finish((performance.now() - begin) / 1000);
}

class ReplayRun {
  readonly #requests: Requests;
  readonly #setup: Setup;
  readonly #blockSize: number;
  readonly #stepTokens: number;
  readonly #tokens: ChainTokens;
  readonly #manager: KvCacheManager;
  readonly #batch: Batch;
  readonly #pauses = new Pauses();
  #time_ms = 0;
  #hitBlocks = 0;
  #hitTokens = 0;

  constructor({ requests, blockSize }: Trace, setup: Setup) {
    const longest = requests.chainBlocks.reduce((a, b) => Math.max(a, b), 1);
    const maxChainBlocks = Math.min(longest, setup.deviceBlocks);
    this.#requests = requests;
    this.#setup = setup;
    this.#blockSize = blockSize;
    this.#stepTokens = Math.ceil(STEP_TOKENS / blockSize) * blockSize;
    this.#tokens = new ChainTokens(blockSize, maxChainBlocks);
    this.#manager = makeManager({
      ...setup,
      blockSize,
      maxChainBlocks,
      maxBatchTokens: this.#stepTokens,
      clock: () => this.#time_ms,
    });
    this.#batch = this.#manager.batch();
  }

  take(request: number): void {
    const { times_ms, inputBlocks, chainBlocks, inputTokens } = this.#requests;
    const chain = Math.min(chainBlocks[request]!, this.#setup.deviceBlocks);
    const input = Math.min(inputBlocks[request]!, chain);
    this.#time_ms = Math.max(this.#time_ms, times_ms[request]!);
    this.#tokens.write(this.#requests, request, 0, input);
    const prompt = this.#tokens.prompt(input);
    const sequence = this.#manager.open(prompt);
    const found = sequence.cachedTokens;
    if (this.#setup.hostBlocks > 0) this.#bringBack(prompt);
    this.#hitBlocks += found / this.#blockSize;
    this.#hitTokens += Math.min(found, inputTokens[request]!);
    this.#tokens.write(this.#requests, request, input, chain);
    this.#compute(sequence, found, chain * this.#blockSize);
    if (this.#setup.hints) this.#seePause(request);
    endRequest(sequence, this.#hintOf(request));
  }

  finish(seconds: number): Counts {
    const { evictions, offloadedBlocks, sparedOffloads, mirroredBlocks, onboardedBlocks } =
      this.#manager.stats();
    this.#manager.close();
    return {
      hitBlocks: this.#hitBlocks,
      hitTokens: this.#hitTokens,
      evictions,
      offloads: offloadedBlocks - sparedOffloads + mirroredBlocks,
      onboards: onboardedBlocks,
      seconds,
    };
  }

  /** Brings what an open sequence holds on the host to the device, in pieces. */
  #bringBack(prompt: Uint32Array): void {
    const { device, host } = this.#manager.lookup(prompt);
    const end = device + host;
    const piece = PIECE_BLOCKS * this.#blockSize;
    for (let from = device; from < end; from += piece) {
      this.#commit(this.#manager.prefetch(prompt.subarray(0, Math.min(end, from + piece))));
    }
  }

  #compute(sequence: Sequence, begin: number, end: number): void {
    for (let from = begin; from < end; from += this.#stepTokens) {
      this.#step(sequence, this.#tokens.slice(from, Math.min(end, from + this.#stepTokens)));
    }
  }

  /** No device moves anything: a step that is committed without one counts as executed. */
  #step(sequence: Sequence, tokens: Uint32Array): void {
    this.#batch.clear();
    this.#batch.add(sequence, tokens);
    this.#commit(this.#manager.schedule(this.#batch));
  }

  #commit(step: Step | OutOfBlocks): void {
    if (!step.ok) throw new Error(`${step.needed} blocks needed, ${step.free} free`);
    step.commit();
  }

  #seePause(request: number): void {
    const { previous, stops, times_ms } = this.#requests;
    const before = previous[request]!;
    if (before < 0) return;
    this.#pauses.saw(stops[before]!, times_ms[request]! - times_ms[before]!);
  }

  #hintOf(request: number): Hint | undefined {
    if (!this.#setup.hints) return undefined;
    const { endsSession, stops } = this.#requests;
    return {
      endsSession: endsSession[request] === 1,
      pause_ms: stops[request] === '' ? undefined : this.#pauses.after(stops[request]!),
    };
  }
}
