/// <reference types="@webgpu/types" />
/** The options of a cache on a GPU. */
import { readBoolean, readChoice, readInteger, readOptions } from '../validate.js';
import { PagedKvError } from '../errors.js';
import type { MoveKind } from './faster-moves.js';
import { readIntercept, type Intercept } from './intercept.js';
import { readQuantization, type Quantization } from './quantized.js';

export interface WebGpuCacheOptions {
  /**
   * How blocks move: compute kernels over a list of blocks, or a copy command for each plane of each block.
   * By default what a short measurement finds to be the faster; it is made once in a process for each adapter
   * and shape of blocks.
   */
  readonly moves?: MoveKind;
  /**
   * Bytes of each of the 8 staging buffers between the tiers, which is what moves at once; at least one block
   * is made room for. Default 8 MiB.
   */
  readonly stagingBytes?: number;
  /** Allocate several GPU buffers of about this size, where a driver does better so than with the largest. */
  readonly maxSlabBytes?: number;
  /** Touch all memory of the host tier ahead, in the background (default), or leave the cost to the first transfers. */
  readonly touchHostMemory?: boolean;
  /**
   * How the host tier keeps blocks; as they are by default. In int8, with a scale for each token and head, they
   * are half as large as f16 and a quarter of f32 from the GPU on, and come back within 1%.
   */
  readonly quantize?: Quantization;
  /**
   * Called, and awaited, before each piece of a transfer counts as arrived; where it throws, the transfer
   * fails. For tests, which so delay, reorder and fail transfers.
   */
  readonly intercept?: Intercept;
}

type Undecided = 'moves' | 'quantize' | 'intercept';

/** As they are used: with the defaults, where there are any. */
export type CacheSettings = Required<Omit<WebGpuCacheOptions, Undecided>> &
  Pick<WebGpuCacheOptions, Undecided>;

const NAMES = [
  'moves',
  'stagingBytes',
  'maxSlabBytes',
  'touchHostMemory',
  'quantize',
  'intercept',
] as const satisfies readonly (keyof WebGpuCacheOptions)[];
export const DEFAULT_STAGING_BYTES = 8 * 2 ** 20;

/** With the defaults; refuses with `INVALID_OPTION` or `UNKNOWN_OPTION`. */
export function readCacheOptions(options: unknown): CacheSettings {
  const given = readOptions('the cache', options, NAMES);
  const quantize = readQuantization(given.quantize);
  const bytes = (name: 'stagingBytes' | 'maxSlabBytes', otherwise: number): number =>
    readInteger(name, given[name], 1, Number.MAX_SAFE_INTEGER, otherwise);
  return {
    stagingBytes: bytes('stagingBytes', DEFAULT_STAGING_BYTES),
    maxSlabBytes: bytes('maxSlabBytes', Infinity),
    touchHostMemory: readBoolean('touchHostMemory', given.touchHostMemory, true),
    ...readMoves(given.moves, quantize),
    ...(quantize === undefined ? {} : { quantize }),
    ...readIntercept(given.intercept),
  };
}

/** Only kernels can quantize. */
function readMoves(value: unknown, quantize?: Quantization): Pick<WebGpuCacheOptions, 'moves'> {
  if (value === undefined) return quantize === undefined ? {} : { moves: 'kernel' };
  const moves = readChoice('moves', value, ['kernel', 'copies']);
  if (moves === 'kernel' || quantize === undefined) return { moves };
  throw new PagedKvError(
    'INVALID_OPTION',
    "quantize needs kernels: leave moves out, or give 'kernel'",
  );
}
