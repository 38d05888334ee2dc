/** One reply that is computed, or waits to be. */
import type { PromptOptions, Sequence } from '../../src/index.js';
import { History } from './contents.js';
import type { Arrival } from './traffic.js';

export class Request {
  readonly where: PromptOptions;
  readonly history: History;
  /** Tokens that the history has at the end. */
  readonly wanted: number;
  /** Tokens whose keys and values are in memory, as of the last commit. */
  computed: number;
  /** Of the block tables, once a step has told it. */
  row: number | undefined;
  isClosed = false;
  /** On its way to the host. */
  isLeaving = false;

  private constructor(
    readonly number: number,
    readonly sequence: Sequence,
    where: PromptOptions,
    history: History,
    wanted: number,
    computed: number,
  ) {
    this.where = where;
    this.history = history;
    this.wanted = wanted;
    this.computed = computed;
  }

  static open(number: number, arrival: Arrival, sequence: Sequence): Request {
    const { namespace, keys, prompt, outputTokens } = arrival;
    const history = new History(namespace, keys);
    history.appendAll(prompt);
    const wanted = prompt.length + outputTokens;
    return new Request(
      number,
      sequence,
      { namespace, keys },
      history,
      wanted,
      sequence.cachedTokens,
    );
  }

  /** Another reply over the first `at` tokens, which are computed; the next one is `token`. */
  fork(number: number, at: number, token: number): Request {
    const { namespace = '', keys = [] } = this.where;
    const history = new History(namespace, keys);
    history.appendAll(this.history.tokens.slice(0, at));
    history.append(token);
    const sequence = this.sequence.fork(at);
    return new Request(number, sequence, this.where, history, this.wanted, at);
  }

  get missing(): number {
    return this.history.length - this.computed;
  }

  get isDone(): boolean {
    return this.history.length >= this.wanted;
  }

  /** The next `count` that are not computed. */
  next(count: number): number[] {
    return this.history.tokens.slice(this.computed, this.computed + count);
  }
}
