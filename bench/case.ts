/** What a benchmark is: an operation of the library, and the yardstick it is held against in the same run. */

export type Microseconds = number;

/** Something to time. Only `run` is on the clock. */
export interface Round {
  /** Makes what `run` needs. */
  readonly before?: () => void;
  /** Answers with a number that depends on all it did, so that nothing of it can be left out. */
  readonly run: () => number;
  /** Undoes the round, and throws where the answer is not the right one. */
  readonly after?: (answer: number) => void;
}

export interface Prepared {
  readonly operation: Round;
  readonly yardstick: Round;
  /** Checks the state that all rounds have left. */
  readonly finish: () => void;
}

export interface Case {
  readonly name: string;
  /** What the operation may take, and what it should. */
  readonly target?: Microseconds;
  readonly goal?: Microseconds;
  /** What the yardstick does. */
  readonly yardstick: string;
  /** A round does the operation this many times: figures are of one. Default 1. */
  readonly perRound?: number;
  /** The name of a case that does all of this but for one thing: what that takes is the difference. */
  readonly without?: string;
  /** Bytes of memory without which it is left out. */
  readonly bytes?: number;
  readonly prepare: () => Prepared;
}

/** Throws unless an answer is the right one. */
export function expect(answer: number, right: number, what: string): void {
  if (answer !== right) throw new Error(`${what}: got ${answer}, not ${right}`);
}
