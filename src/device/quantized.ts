/**
 * How a block's record lies in the host tier: its planes end to end, as they are or as int8.
 *
 * A plane in int8 is, for a block,
 *
 *     int8  [blockSize, kvHeads, headDim]   q = round(x / s), ties to even
 *     zeros up to a multiple of 4 bytes
 *     f32   [blockSize, kvHeads]            s = max |x| / 127, over a head
 *
 * and `x` comes back as `q s` with `|x − q s| ≤ s / 2`, but for the rounding of the plane's own type: half of
 * f16's bytes, a quarter of f32's, and 4 for each token and head. The relative L2 error of a head is about
 * `max |x| / rms / 440`: 0.65% for normal values at 128 to a head, below 1% up to a maximum of 4.4 times the
 * root mean square. A head with a value that is not finite comes back as NaN. `native/arena/quantize.h` does
 * the same, to the bit.
 */
import { BYTES_PER_ELEMENT } from '../groups.js';
import type { CacheLayout, GroupLayout, Plane } from '../plan.js';
import { readChoice } from '../validate.js';
import { modelOf, planeBlockBytes } from './layout.js';

/** How a tier keeps what it holds; without it, as it is. */
export type Quantization = 'int8';

/** The option of that name; refuses what is none with `INVALID_OPTION`. */
export function readQuantization(value: unknown): Quantization | undefined {
  return value === undefined ? undefined : readChoice<Quantization>('quantize', value, ['int8']);
}

/** Where a plane's part of a record begins, and how long it is. Bytes. */
export interface RecordPlane {
  readonly offset: number;
  readonly bytes: number;
}

export interface RecordLayout {
  readonly bytes: number;
  readonly planes: readonly RecordPlane[];
}

const SCALE_BYTES = 4;

/** Throws `NO_MODEL` where planes are to be quantized whose elements nobody knows. O(planes). */
export function recordLayout(
  layout: CacheLayout,
  group: GroupLayout,
  quantize?: Quantization,
): RecordLayout {
  let bytes = 0;
  const planes = group.planes.map((plane) => {
    const part = { offset: bytes, bytes: partBytes(layout, plane, quantize) };
    bytes += part.bytes;
    return part;
  });
  return { bytes, planes };
}

/** Where in a quantized part the scales begin. Bytes. */
export function scalesOffset(layout: CacheLayout, plane: Plane): number {
  const values = planeBlockBytes(layout, plane) / BYTES_PER_ELEMENT[modelOf(layout).dtype];
  return Math.ceil(values / SCALE_BYTES) * SCALE_BYTES;
}

function partBytes(layout: CacheLayout, plane: Plane, quantize?: Quantization): number {
  if (quantize === undefined) return planeBlockBytes(layout, plane);
  const model = modelOf(layout);
  const heads = planeBlockBytes(layout, plane) / BYTES_PER_ELEMENT[model.dtype] / model.headDim;
  return scalesOffset(layout, plane) + heads * SCALE_BYTES;
}
