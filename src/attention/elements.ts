/**
 * How WGSL reads and writes vectors of a storage type. Halves are words that hold two each, unpacked with
 * built-ins of the core language: f16 memory needs no optional feature, and sums are f32 either way.
 */
import { PagedKvError } from '../errors.js';
import type { DType } from '../plan.js';

export interface Elements {
  /** Values in a vector: 4, 2 or 1, the most that divides a head. */
  readonly width: number;
  /** The WGSL type that storage arrays consist of. */
  readonly stored: string;
  /** WGSL: a stored vector to a vector of f32, and back. */
  readonly load: (expression: string) => string;
  readonly store: (expression: string) => string;
}

export function vectorWidth(headDim: number): number {
  if (headDim % 4 === 0) return 4;
  return headDim % 2 === 0 ? 2 : 1;
}

/** The WGSL name of a vector of `width` f32 values. */
export function vectorType(width: number): string {
  return width === 1 ? 'f32' : `vec${width}f`;
}

export function elements(dtype: DType, width: number): Elements {
  if (dtype === 'f32') {
    return { width, stored: vectorType(width), load: (x) => x, store: (x) => x };
  }
  if (width === 4) {
    return {
      width,
      stored: 'vec2u',
      load: (x) => `vec4f(unpack2x16float(${x}.x), unpack2x16float(${x}.y))`,
      store: (x) => `vec2u(pack2x16float(${x}.xy), pack2x16float(${x}.zw))`,
    };
  }
  if (width === 2) {
    return {
      width,
      stored: 'u32',
      load: (x) => `unpack2x16float(${x})`,
      store: (x) => `pack2x16float(${x})`,
    };
  }
  throw new PagedKvError('ATTENTION_SHAPE', 'f16 needs an even headDim');
}
