/** Text of shaders: what generators of WGSL share. */

/** A number as a WGSL f32 literal. */
export function float(value: number): string {
  const text = String(Math.fround(value));
  return /[.e]/.test(text) ? `f32(${text})` : `f32(${text}.0)`;
}

/**
 * The body for each index, as a WGSL number, end to end: arrays that are only indexed by such numbers become
 * registers.
 */
export function unrolled(count: number, body: (index: string) => string): string {
  return Array.from({ length: count }, (_, index) => body(`${index}u`)).join('\n');
}
