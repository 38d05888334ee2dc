/** One figure of a benchmark, held against a yardstick of the same run. */

export interface Line {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What the value is held against. */
  readonly yardstick: string;
  /** Of the value to the yardstick's: the median of the turns that both took. */
  readonly ratio: number;
}

/** A way to do something: does it once, and answers with the seconds that it took. */
export type Timed = () => number;

/** Gigabytes a second, of `bytes` moved both by `operation` and by `yardstick`, in turns. */
export function rateAgainst(
  name: string,
  bytes: number,
  operation: Timed,
  yardstick: readonly [name: string, run: Timed],
  turns = 25,
): Line {
  const seconds: (readonly [number, number])[] = [];
  // The first turn warms up.
  for (let turn = 0; turn <= turns; turn++) seconds.push([operation(), yardstick[1]()]);
  const counted = seconds.slice(1);
  return {
    name,
    value: bytes / median(counted.map(([own]) => own)) / 1e9,
    unit: 'GB/s',
    yardstick: yardstick[0],
    ratio: median(counted.map(([own, other]) => other / own)),
  };
}

/** What an operation and its yardstick each came to, in one turn. */
export interface Turn {
  readonly value: number;
  readonly yardstick: number;
}

/** Of turns in which both were measured, so that what slows one slows the other. */
export function lineOf(
  name: string,
  unit: string,
  yardstick: string,
  turns: readonly Turn[],
): Line {
  return {
    name,
    value: median(turns.map((turn) => turn.value)),
    unit,
    yardstick,
    ratio: median(turns.map((turn) => turn.value / turn.yardstick)),
  };
}

/** Times a call that answers when it is done. */
export function timed(run: () => void): Timed {
  return () => {
    const begin = performance.now();
    run();
    return (performance.now() - begin) / 1000;
  };
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
