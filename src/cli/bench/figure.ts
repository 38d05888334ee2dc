/** A measured number beside what it is held against, both of one run. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** In the same unit. */
  readonly yardstick: number;
  /** Value to yardstick. */
  readonly ratio: number;
}

/** `value` and `yardstick` are of turns taken one after the other: what slows one turn slows both. */
export function figureOf(
  name: string,
  unit: string,
  turns: readonly { readonly value: number; readonly yardstick: number }[],
): Figure {
  return {
    name,
    value: median(turns.map((turn) => turn.value)),
    unit,
    yardstick: median(turns.map((turn) => turn.yardstick)),
    ratio: median(turns.map((turn) => turn.value / turn.yardstick)),
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
