/**
 * How WGSL reads and writes vectors of a storage type. Halves are words that hold two each. Where the device has
 * `shader-f16` they are halves to the shader, too; elsewhere built-ins of the core language unpack them, so f16
 * memory needs no optional feature. Sums are f32 either way.
 */
import { PagedKvError } from '../errors.js';
import type { DType } from '../plan.js';

/** A storage type, as vectors that are moved at once and computed with in parts. */
export interface Elements {
  /** Values in a stored vector. */
  readonly width: number;
  /** The WGSL type that storage arrays consist of. */
  readonly stored: string;
  /** Parts of a stored vector, each a vector of f32. */
  readonly parts: number;
  /** WGSL: part `part` of a stored vector, as f32. */
  readonly load: (expression: string, part?: number) => string;
  /** WGSL: a stored vector of one part, from f32. */
  readonly store: (expression: string) => string;
}

/** Values that are computed with at once: 4, 2 or 1, the most that divides a head. */
export function partWidth(headDim: number): number {
  if (headDim % 4 === 0) return 4;
  return headDim % 2 === 0 ? 2 : 1;
}

/** The WGSL name of a vector of `width` f32 values. */
export function vectorType(width: number): string {
  return width === 1 ? 'f32' : `vec${width}f`;
}

/** WGSL: the sum of a vector's values. */
export function totalOf(width: number, expression: string): string {
  return width === 1 ? expression : `dot(${expression}, ${vectorType(width)}(1.0))`;
}

/**
 * `width`: 1, 2 or 4 values, which are one part, or 8 halves, which are two. `native`: the shader enables f16.
 * Throws `ATTENTION_SHAPE` for halves that are no whole word.
 */
export function elements(dtype: DType, width: number, native = false): Elements {
  if (dtype === 'f32') {
    return { width, stored: vectorType(width), parts: 1, load: (x) => x, store: (x) => x };
  }
  if (width % 2 !== 0) throw new PagedKvError('ATTENTION_SHAPE', 'f16 needs an even headDim');
  const pairs = native ? NATIVE_PAIRS : PACKED_PAIRS;
  if (width === 2) {
    return { width, stored: 'u32', parts: 1, load: (x) => pairs.load(x), store: pairs.store };
  }
  return {
    width,
    stored: `vec${width / 2}u`,
    parts: width / 4,
    load: (x, part = 0) => {
      const [low, high] = part === 0 ? ['x', 'y'] : ['z', 'w'];
      return `vec4f(${pairs.load(`${x}.${low}`)}, ${pairs.load(`${x}.${high}`)})`;
    },
    store: (x) => `vec2u(${pairs.store(`${x}.xy`)}, ${pairs.store(`${x}.zw`)})`,
  };
}

/** WGSL: a word to two values of f32, and back. */
interface Pairs {
  readonly load: (word: string) => string;
  readonly store: (values: string) => string;
}

const PACKED_PAIRS: Pairs = {
  load: (word) => `unpack2x16float(${word})`,
  store: (values) => `pack2x16float(${values})`,
};

const NATIVE_PAIRS: Pairs = {
  load: (word) => `vec2f(bitcast<vec2h>(${word}))`,
  store: (values) => `bitcast<u32>(vec2h(${values}))`,
};
