import { describe, expect, it } from 'vitest';
import { fromHalf, toHalf } from '../src/attention/half.js';

describe('half precision', () => {
  it('comes back from its own value as the same bits, for every half that is a number', () => {
    const wrong: number[] = [];
    for (let half = 0; half < 0x10000; half++) {
      const value = fromHalf(half);
      if (!Number.isNaN(value) && toHalf(value) !== half) wrong.push(half);
    }
    expect(wrong).toEqual([]);
  });

  it('rounds to the nearest half, ties to even', () => {
    const wrong: number[] = [];
    for (let half = 0x0000; half < 0x7bff; half++) {
      const [low, high] = [fromHalf(half), fromHalf(half + 1)];
      const middle = (low + high) / 2;
      const nudge = (high - low) / 8;
      const even = half + (half & 1);
      const isRight =
        toHalf(middle) === even &&
        toHalf(middle - nudge) === half &&
        toHalf(-middle - nudge) === ((half + 1) | 0x8000);
      if (!isRight) wrong.push(half);
    }
    expect(wrong).toEqual([]);
  });

  it('keeps NaN and infinity, and turns what is too large into infinity', () => {
    expect(fromHalf(toHalf(NaN))).toBeNaN();
    expect(toHalf(Infinity)).toBe(0x7c00);
    expect(toHalf(-1e9)).toBe(0xfc00);
    expect(toHalf(65519)).toBe(0x7bff);
    expect(toHalf(65520)).toBe(0x7c00);
    expect(Object.is(fromHalf(toHalf(-0)), -0)).toBe(true);
  });
});
