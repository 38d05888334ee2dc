/**
 * Numbers from a seed, by counter: the same arguments give the same number, in any order of calls, so
 * that a chat's noise does not depend on what else ran beside it.
 */

/** Mixes 32 bits (the finaliser of MurmurHash3, by Austin Appleby, public domain). */
function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** A 32-bit key for a list of integers. */
export function keyOf(...parts: readonly number[]): number {
  let key = 0x9e3779b9 | 0;
  for (const part of parts) key = mix(Math.imul(key, 31) + mix(part + 0x6d2b79f5));
  return key >>> 0;
}

/** Uniform in (0, 1), the ends left out, so that its logarithm is finite. */
export function uniform(key: number, index: number): number {
  const bits = mix(key ^ mix(Math.imul(index + 1, 0x9e3779b1))) >>> 0;
  return (bits + 0.5) / 4_294_967_296;
}

/** Fills an array from the normal distribution (Box and Muller, 1958). */
export function fillNormal(out: Float32Array, key: number, deviation: number): Float32Array {
  for (let i = 0; i < out.length; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(uniform(key, i)));
    const angle = 2 * Math.PI * uniform(key, i + 1);
    out[i] = radius * Math.cos(angle);
    if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}
