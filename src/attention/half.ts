/** Half-precision floats as their bit patterns: JavaScript of the oldest Node supported has no array of them. */

const bits = new Uint32Array(1);
const single = new Float32Array(bits.buffer);

/** Value by bit pattern; 256 KiB, made when first needed. */
let values: Float32Array | undefined;

/** The values of all 65,536 bit patterns, for loops that convert many. */
export function halfValues(): Float32Array {
  values ??= Float32Array.from({ length: 0x10000 }, (_, half) => decode(half));
  return values;
}

/** The value of a half's bit pattern. O(1). */
export function fromHalf(half: number): number {
  return halfValues()[half & 0xffff]!;
}

/** The bit pattern of the half nearest to `value`, ties to even; too large becomes infinity. O(1). */
export function toHalf(value: number): number {
  single[0] = value;
  const word = bits[0]!;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  // From 65,520 on the nearest half is infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) return sign | roundToEven(Math.abs(single[0]) * 2 ** 24);
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** Subnormal halves are multiples of 2⁻²⁴, so their bit pattern is the rounded quotient. */
function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest > 0.5 ? floor + 1 : floor;
  return floor + (floor & 1);
}

function decode(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
