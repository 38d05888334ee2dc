/**
 * The engine's decoding loop: continuous batching. Every pass computes the next token of each stream under way and
 * a chunk of every prompt that is not computed yet. pagedkv is asked for memory; everything else is the engine's.
 */
import type { KvCacheManager, Sequence, Step } from '../../src/index.js';
import { keyOf } from '../chat/random.js';
import { draw } from '../chat/sampling.js';
import type { KvMemory } from './kv-memory.js';
import type { PagedModel } from './model.js';

/** A token that was drawn, and what from. */
export interface Drawn {
  readonly id: number;
  readonly logits: Float32Array;
}

/** A text, and how it came to be: what the reference is asked to write again. */
export interface History {
  readonly name: string;
  /** Of the noise it is drawn with. */
  readonly key: number;
  /** Prompt and tokens drawn. */
  readonly tokens: readonly number[];
  /** By position in `tokens`. */
  readonly drawn: ReadonlyMap<number, Drawn>;
}

/** A text being written: the last token drawn is yet to be computed. */
export interface Stream extends History {
  readonly sequence: Sequence;
  readonly tokens: number[];
  readonly drawn: Map<number, Drawn>;
}

export interface LoopOptions {
  readonly vocabulary: number;
  readonly seed: number;
  readonly temperature: number;
  /** Most query tokens of one stream in one pass. */
  readonly chunkTokens: number;
}

export class Loop {
  /** Those that the next pass computes. */
  readonly running = new Set<Stream>();
  /** What was written, up to an edit or the end. */
  readonly written: History[] = [];
  passes = 0;
  readonly #kv: KvCacheManager;
  readonly #memory: KvMemory;
  readonly #model: PagedModel;
  readonly #options: LoopOptions;

  constructor(kv: KvCacheManager, memory: KvMemory, model: PagedModel, options: LoopOptions) {
    this.#kv = kv;
    this.#memory = memory;
    this.#model = model;
    this.#options = options;
  }

  /** What other prompts have computed already is not computed again. */
  open(name: string, prompt: readonly number[]): Stream {
    return this.#start(name, this.#kv.open(prompt), prompt);
  }

  /** A second stream that goes on from here, drawn by other noise. It shares every block, until it writes. */
  fork(stream: Stream, name: string): Stream {
    return this.#start(name, stream.sequence.fork(), stream.tokens);
  }

  /** Takes back the tokens from `length` on, and goes on after `text` in their place. */
  edit(stream: Stream, length: number, text: readonly number[]): void {
    this.#keep(stream);
    const { sequence, tokens, drawn } = stream;
    tokens.splice(length, Infinity, ...text);
    for (const position of [...drawn.keys()]) if (position >= length) drawn.delete(position);
    // The last token is computed again where none is left to compute: its logits are wanted.
    sequence.truncate(Math.min(sequence.length, length, tokens.length - 1));
  }

  /** Gives a stream's blocks to others; it goes on with `running.add`. */
  async swapOut(stream: Stream): Promise<void> {
    const transfer = this.#kv.preempt(stream.sequence, { mode: 'swap' });
    if (!transfer.ok) throw new Error(`the host tier has no room for ${stream.name}`);
    await this.#memory.execute(transfer);
    this.running.delete(stream);
  }

  /** Its full blocks stay, for the next prompt that starts alike. */
  close(stream: Stream): void {
    this.#keep(stream);
    stream.sequence.close();
    this.running.delete(stream);
  }

  async run(passes: number): Promise<void> {
    for (let i = 0; i < passes; i++) await this.#pass();
  }

  #start(name: string, sequence: Sequence, tokens: readonly number[]): Stream {
    const key = keyOf(this.#options.seed, ...Buffer.from(name));
    const stream = { name, key, sequence, tokens: [...tokens], drawn: new Map<number, Drawn>() };
    this.running.add(stream);
    return stream;
  }

  #keep({ name, key, tokens, drawn }: Stream): void {
    this.written.push({ name, key, tokens: [...tokens], drawn: new Map(drawn) });
  }

  async #pass(): Promise<void> {
    const entries = [...this.running].map((stream) => this.#entryOf(stream));
    const step = this.#kv.schedule(entries);
    if (!step.ok) throw new Error(`${step.needed} blocks are needed, ${step.free} are free`);
    await this.#memory.execute(step);
    const { ids, last } = queryTokens(step, entries);
    const logits = await this.#model.forward(ids, last, step.attention);
    step.commit();
    entries.forEach(({ stream }, i) => this.#draw(stream, logits, i));
    this.passes++;
  }

  /** Tokens that are not in memory yet, as many as one pass takes. */
  #entryOf(stream: Stream): Entry {
    const { sequence, tokens } = stream;
    const computed = sequence.length;
    return {
      stream,
      sequence,
      tokens: tokens.slice(computed, computed + this.#options.chunkTokens),
    };
  }

  /** From row `row` of the logits, unless the pass ended within the prompt. */
  #draw(stream: Stream, logits: Float32Array, row: number): void {
    const { sequence, tokens, drawn, key } = stream;
    if (sequence.length < tokens.length) return;
    const { vocabulary, temperature } = this.#options;
    const place = tokens.length;
    const { id } = draw(logits, row, vocabulary, temperature, key, place);
    drawn.set(place, { id, logits: logits.slice(row * vocabulary, (row + 1) * vocabulary) });
    tokens.push(id);
  }
}

interface Entry {
  readonly stream: Stream;
  readonly sequence: Sequence;
  readonly tokens: readonly number[];
}

/** The ids of a pass, laid end to end, and where the last of each stream is. */
function queryTokens(step: Step, entries: readonly Entry[]): { ids: Int32Array; last: Int32Array } {
  const { tokens, cumulativeLengths, skipped } = step.attention;
  const ids = new Int32Array(tokens);
  entries.forEach((entry, i) => {
    // What another stream has computed since is not computed again.
    ids.set(entry.tokens.slice(skipped[i]), cumulativeLengths[i]);
  });
  return { ids, last: cumulativeLengths.subarray(1).map((end) => end - 1) };
}
