/**
 * What the oracle writes for a token: keys and values that follow from the token's whole prefix, the extra
 * keys it stands under, and its namespace, so that two slots hold the same only where a model would have computed the same.
 */
export const MODEL = { layers: 2, kvHeads: 2, headDim: 8, dtype: 'f32' } as const;

/** Keys and values of each layer, in the order of the layout. */
export const PLANES = 2 * MODEL.layers;
/** Elements of a token in one plane. */
export const WIDTH = MODEL.kvHeads * MODEL.headDim;

/** A prefix, as 32 bits. */
export type Prefix = number;

/** `epoch`: how often the namespace was cleared, since what was computed before must not be found after. */
export function emptyPrefix(namespace: string, epoch: number): Prefix {
  let prefix = mix(epoch);
  for (const char of namespace) prefix = extend(prefix, char.charCodeAt(0));
  return prefix;
}

export function extend(prefix: Prefix, token: number, key = ''): Prefix {
  let next = mix(Math.imul(prefix, 31) + token + 0x9e3779b9);
  for (const char of key) next = mix(Math.imul(next, 31) + char.charCodeAt(0) + 0x10000);
  return next;
}

/** One element of the token that ends a prefix: 24 random bits, which f32 holds exactly. Never NaN. */
export function element(prefix: Prefix, plane: number, index: number): number {
  return (mix(prefix + Math.imul(plane * WIDTH + index + 1, 0x9e3779b1)) >>> 8) / 2 ** 24;
}

/** One plane of the tokens that end these prefixes. */
export function planeOf(prefixes: readonly Prefix[], plane: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(prefixes.length * WIDTH);
  for (let i = 0; i < values.length; i++) {
    values[i] = element(prefixes[Math.floor(i / WIDTH)]!, plane, i % WIDTH);
  }
  return values;
}

/** The finalizer of MurmurHash3. */
function mix(value: number): number {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
