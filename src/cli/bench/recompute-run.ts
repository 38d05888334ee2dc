/**
 * Replays a trace over two tiers on a virtual clock, one request after the other: what a prompt finds on the
 * host is brought back or computed again, as the manager chooses, and both take the time that a machine says.
 */
import type { Batch, KvCacheManager, Onboarding, Sequence } from '../../index.js';
import { MOVE_WORDS } from '../../words.js';
import { makeManager } from '../replay/manager.js';
import { ChainTokens } from '../replay/tokens.js';
import type { Trace } from '../replay/trace.js';
import { Noise, type Machine } from './machine.js';

export interface RunSetup {
  readonly deviceBlocks: number;
  readonly hostBlocks: number;
  readonly onboard: Onboarding;
  /** Of the noise. */
  readonly seed: number;
  /**
   * By how many times the manager is told before the run that moving is slower, and computing faster, than it
   * is. Undefined: it is told nothing.
   */
  readonly misled: number | undefined;
}

export interface Outcome {
  /** Of passes over prompts and of transfers back to the device, by machine. */
  readonly milliseconds: readonly number[];
  readonly onboardedBlocks: number;
  readonly recomputedTokens: number;
  readonly explorations: number;
}

/** Of a pass. */
const PASS_TOKENS = 8192;

/**
 * What a trace takes on several machines, all of which do what the manager chooses. Only the first reports to
 * it, so that only runs which choose nothing can have more.
 */
export function runTrace(trace: Trace, setup: RunSetup, machines: readonly Machine[]): Outcome {
  const run = new RecomputeRun(trace, setup, machines);
  run.mislead();
  for (let request = 0; request < trace.requests.count; request++) run.take(request);
  return run.finish();
}

class RecomputeRun {
  readonly #trace: Trace;
  readonly #setup: RunSetup;
  readonly #machines: readonly Machine[];
  readonly #milliseconds: number[];
  readonly #kv: KvCacheManager;
  readonly #batch: Batch;
  readonly #tokens: ChainTokens;
  readonly #passTokens: number;
  #now_ms = 0;
  #progress = 0;
  #events = 0;

  constructor(trace: Trace, setup: RunSetup, machines: readonly Machine[]) {
    const { requests, blockSize } = trace;
    const longest = requests.chainBlocks.reduce((a, b) => Math.max(a, b), 1);
    const maxChainBlocks = Math.min(longest, setup.deviceBlocks);
    this.#trace = trace;
    this.#setup = setup;
    this.#machines = machines;
    this.#milliseconds = machines.map(() => 0);
    this.#passTokens = Math.max(blockSize, PASS_TOKENS);
    this.#tokens = new ChainTokens(blockSize, maxChainBlocks);
    this.#kv = makeManager({
      policy: 'adaptive',
      blockSize,
      deviceBlocks: setup.deviceBlocks,
      hostBlocks: setup.hostBlocks,
      hostMode: 'exclusive',
      onboard: setup.onboard,
      maxChainBlocks,
      maxBatchTokens: this.#passTokens,
      clock: () => this.#now_ms,
    });
    this.#batch = this.#kv.batch();
  }

  /** Reports of a pass and a transfer that were never made. */
  mislead(): void {
    const { misled } = this.#setup;
    if (misled === undefined) return;
    const blocks = 64;
    const transfer = this.#machines[0]!.transfer(blocks, 0, undefined) * misled;
    this.#kv.reportTransfer({ direction: 'onboard', blocks, milliseconds: transfer });
    const tokens = 2048;
    const pass = this.#machines[0]!.prefill(tokens, 0, undefined) / misled;
    this.#kv.reportPrefill({ tokens, milliseconds: pass });
  }

  take(request: number): void {
    const { requests, blockSize } = this.#trace;
    const { times_ms, inputBlocks, chainBlocks, count } = requests;
    const chain = Math.min(chainBlocks[request]!, this.#setup.deviceBlocks);
    const input = Math.min(inputBlocks[request]!, chain);
    this.#now_ms = Math.max(this.#now_ms, times_ms[request]!);
    this.#progress = request / count;
    this.#events = 3 * request;
    this.#tokens.write(requests, request, 0, input);
    const end = input * blockSize;
    const prompt = input === 0 ? this.#tokens.prompt(0) : this.#tokens.slice(0, end);
    const sequence = this.#kv.open(prompt);
    this.#tokens.write(requests, request, input, chain);
    this.#compute(sequence, sequence.cachedTokens, end, true);
    this.#compute(sequence, end, chain * blockSize, false);
    sequence.close();
  }

  finish(): Outcome {
    const { onboardedBlocks, recomputedTokens, explorations } = this.#kv.stats();
    this.#kv.close();
    return { milliseconds: this.#milliseconds, onboardedBlocks, recomputedTokens, explorations };
  }

  #compute(sequence: Sequence, begin: number, end: number, isPrompt: boolean): void {
    for (let from = begin; from < end; from += this.#passTokens) {
      const to = Math.min(end, from + this.#passTokens);
      this.#batch.clear();
      this.#batch.add(sequence, this.#tokens.slice(from, to));
      const step = this.#kv.schedule(this.#batch);
      if (!step.ok) throw new Error(`${step.needed} blocks needed, ${step.free} free`);
      const onboards = step.moves.onboards.length / MOVE_WORDS;
      if (onboards > 0) this.#takeOnboard(onboards);
      const skipped = step.attention.skipped[0]!;
      if (isPrompt) this.#takePrefill(to - from - skipped, from + skipped);
      step.commit();
    }
  }

  #takeOnboard(blocks: number): void {
    const event = this.#events;
    this.#machines.forEach((machine, i) => {
      const noise = new Noise(this.#setup.seed, event);
      const milliseconds = machine.transfer(blocks, this.#progress, noise);
      this.#milliseconds[i]! += milliseconds;
      if (i === 0) this.#kv.reportTransfer({ direction: 'onboard', blocks, milliseconds });
    });
  }

  #takePrefill(tokens: number, past: number): void {
    const event = this.#events + 1;
    this.#machines.forEach((machine, i) => {
      const milliseconds = machine.prefill(tokens, past, new Noise(this.#setup.seed, event));
      this.#milliseconds[i]! += milliseconds;
      if (i === 0) this.#kv.reportPrefill({ tokens, past, milliseconds });
    });
  }
}
