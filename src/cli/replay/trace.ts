/** A trace in memory: what each request asks for, in arrays by request. */
import type { CliError } from '../errors.js';
import type { JsonLine } from '../json.js';
import { IdTree } from './id-tree.js';
import { lengthOfRanges, type IdRanges, type Request } from './request.js';

export interface Trace {
  readonly name: string;
  /** Tokens of a block. */
  readonly blockSize: number;
  /** Distinct blocks: what sizes in percent are of. */
  readonly blocks: number;
  readonly requests: Requests;
}

/** Blocks are named by numbers from 1 up, equal ones for equal content after an equal prefix. */
export interface Requests {
  readonly count: number;
  readonly times_ms: Float64Array;
  readonly inputTokens: Float64Array;
  /** Blocks of the prompt; those of the output follow. */
  readonly inputBlocks: Uint32Array;
  /** Of prompt and output. */
  readonly chainBlocks: Uint32Array;
  /** The chains: numbers in a row as pairs, the first and how many. */
  readonly runs: Uint32Array;
  /** Where a request's chain begins in `runs`; it ends where the next begins. One more than requests. */
  readonly runBegins: Uint32Array;
  /** Whether it is the last of its session in the trace. */
  readonly endsSession: Uint8Array;
  readonly stops: readonly string[];
  /** The request before it in its session, or -1. */
  readonly previous: Int32Array;
}

/** Takes the requests of a trace one by one and refuses those that contradict it. */
export class RequestCollector {
  readonly #blockSize: number;
  readonly #ids = new IdTree();
  readonly #times_ms: number[] = [];
  readonly #inputTokens: number[] = [];
  readonly #inputBlocks: number[] = [];
  readonly #chainBlocks: number[] = [];
  readonly #runs: number[] = [];
  readonly #runBegins: number[] = [];
  readonly #stops: string[] = [];
  readonly #previous: number[] = [];
  /** The last request of each session. */
  readonly #lastOf = new Map<string | number, number>();

  constructor(blockSize: number) {
    this.#blockSize = blockSize;
  }

  get count(): number {
    return this.#times_ms.length;
  }

  /** Distinct blocks. */
  get blocks(): number {
    return this.#ids.count;
  }

  add(request: Request, line: JsonLine): void {
    const inputBlocks = lengthOfRanges(request.input);
    const chainBlocks = inputBlocks + lengthOfRanges(request.output);
    this.#refuseWrongLength(request, inputBlocks, chainBlocks, line);
    this.#runBegins.push(this.#runs.length);
    this.#addChain([...request.input, ...request.output], line);
    this.#previous.push(this.#lastIn(request.session));
    if (request.session !== undefined) this.#lastOf.set(request.session, this.count);
    this.#times_ms.push(request.time_ms);
    this.#inputTokens.push(request.inputTokens);
    this.#inputBlocks.push(inputBlocks);
    this.#chainBlocks.push(chainBlocks);
    this.#stops.push(request.stop);
  }

  #lastIn(session: string | number | undefined): number {
    return session === undefined ? -1 : (this.#lastOf.get(session) ?? -1);
  }

  finish(): Requests {
    const endsSession = new Uint8Array(this.count);
    for (const last of this.#lastOf.values()) endsSession[last] = 1;
    return {
      count: this.count,
      times_ms: Float64Array.from(this.#times_ms),
      inputTokens: Float64Array.from(this.#inputTokens),
      inputBlocks: Uint32Array.from(this.#inputBlocks),
      chainBlocks: Uint32Array.from(this.#chainBlocks),
      runs: Uint32Array.from(this.#runs),
      runBegins: Uint32Array.from([...this.#runBegins, this.#runs.length]),
      endsSession,
      stops: this.#stops,
      previous: Int32Array.from(this.#previous),
    };
  }

  /** A prompt's last block may be left out or stand for a part; the output ends in full blocks. */
  #refuseWrongLength(
    { inputTokens, outputTokens }: Request,
    inputBlocks: number,
    chainBlocks: number,
    line: JsonLine,
  ): void {
    const most = Math.ceil(inputTokens / this.#blockSize);
    const least = Math.floor(inputTokens / this.#blockSize);
    if (inputBlocks < least || inputBlocks > most) {
      throw line.fail(
        `a prompt of ${inputTokens} tokens with ${inputBlocks} blocks of ${this.#blockSize}`,
        least === most ? `it has ${least}` : `it has ${least} or ${most}`,
      );
    }
    if (chainBlocks <= Math.ceil((inputTokens + outputTokens) / this.#blockSize)) return;
    throw line.fail(
      `${chainBlocks} blocks of ${this.#blockSize} for ${inputTokens} + ${outputTokens} tokens`,
      'take the ids away that the output cannot fill',
    );
  }

  #addChain(ranges: IdRanges, line: JsonLine): void {
    const runs = this.#runs;
    const begin = runs.length;
    let above = 0;
    let aboveId: number | undefined;
    for (let i = 0; i < ranges.length; i += 2) {
      const end = ranges[i]! + ranges[i + 1]!;
      for (let id = ranges[i]!; id < end; id++) {
        const number = this.#ids.place(id, above);
        if (number === 0) throw this.#contradiction(id, aboveId, ranges, line);
        if (number === above + 1 && runs.length > begin) runs[runs.length - 1]! += 1;
        else runs.push(number, 1);
        above = number;
        aboveId = id;
      }
    }
  }

  #contradiction(
    id: number,
    above: number | undefined,
    ranges: IdRanges,
    line: JsonLine,
  ): CliError {
    if (timesIn(ranges, id) > 1) {
      return line.fail(`block ${id} stands twice in one chain`, 'give the second an id of its own');
    }
    return line.fail(
      `block ${id} ${place(above)} here, and ${place(this.#ids.parentOf(id))} before`,
      'an equal id means an equal prefix: give this one an id of its own',
    );
  }
}

function place(above: number | undefined): string {
  return above === undefined ? 'begins a chain' : `follows block ${above}`;
}

function timesIn(ranges: IdRanges, id: number): number {
  let times = 0;
  for (let i = 0; i < ranges.length; i += 2) {
    if (id >= ranges[i]! && id < ranges[i]! + ranges[i + 1]!) times += 1;
  }
  return times;
}
