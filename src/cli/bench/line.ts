/** One figure of a benchmark, held against a yardstick of the same run. */

export interface Line {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What the value is held against. */
  readonly yardstick: string;
  /**
   * Of the value to the yardstick: the median of the turns that both took. So more is better where the unit is a
   * rate, and 1 is the most that is allowed where the yardstick is a limit.
   */
  readonly ratio: number;
}

/** A way to do something: does it once, and answers with the seconds that it took. */
export type Timed = () => number | Promise<number>;

/** Seconds that an operation and its yardstick took, one after the other. */
export interface Turn {
  readonly own: number;
  readonly other: number;
}

/** Turns that are not counted: what only the first ones pay. */
const WARM_UPS = 2;
const TURNS = 25;

/**
 * Both in turns, so that what slows the one slows the other, and by turns each of them first, so that neither
 * always finds what the other left in the caches.
 */
export async function alternate(own: Timed, other: Timed, turns = TURNS): Promise<Turn[]> {
  const taken: Turn[] = [];
  for (let turn = -WARM_UPS; turn < turns; turn++) {
    const isFirst = turn % 2 === 0;
    const before = isFirst ? await own() : 0;
    const otherTook = await other();
    const ownTook = isFirst ? before : await own();
    if (turn >= 0) taken.push({ own: ownTook, other: otherTook });
  }
  return taken;
}

/** Gigabytes a second, of `bytes` moved both by `own` and by the yardstick. */
export async function rateAgainst(
  name: string,
  bytes: number,
  own: Timed,
  [yardstick, other]: readonly [name: string, run: Timed],
  turns?: number,
): Promise<Line> {
  const taken = await alternate(own, other, turns);
  return {
    name,
    value: bytes / median(taken.map((turn) => turn.own)) / 1e9,
    unit: 'GB/s',
    yardstick,
    ratio: median(taken.map((turn) => turn.other / turn.own)),
  };
}

/** What must not exceed a limit in the same unit, from the values of some turns. */
export function lineBelow(
  name: string,
  values: readonly number[],
  unit: string,
  [yardstick, limit]: readonly [name: string, limit: number],
): Line {
  const value = median(values);
  return { name, value, unit, yardstick, ratio: value / limit };
}

/** Times a call, up to where what it promises is done. */
export function timed(run: () => void): () => number;
export function timed(run: () => Promise<void>): () => Promise<number>;
export function timed(run: () => void | Promise<void>): Timed {
  return () => {
    const begin = performance.now();
    const since = (): number => (performance.now() - begin) / 1000;
    const done = run();
    return done === undefined ? since() : done.then(since);
  };
}

export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
