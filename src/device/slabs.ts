/**
 * Where each plane lies in GPU memory. A model has dozens of planes and a shader stage binds about ten
 * buffers, so planes are ranges of a few large buffers, the slabs.
 *
 * Invariant: no slab is larger than a storage binding may be, so that a kernel can bind a whole one.
 */
import { PagedKvError } from '../errors.js';
import type { CacheLayout, GroupLayout, Plane } from '../plan.js';
import { WORD_BYTES } from '../words.js';
import { planeBlockBytes } from './layout.js';

/** The limits that decide; a `GPUSupportedLimits` is one. Bytes. */
export interface SlabLimits {
  readonly maxBufferSize: number;
  readonly maxStorageBufferBindingSize: number;
  readonly minStorageBufferOffsetAlignment: number;
}

/** A plane's place: bytes `offset` to `offset + size` of a slab. */
export interface PlaneRange {
  readonly slab: number;
  readonly offset: number;
  readonly size: number;
}

export interface SlabPlan {
  /** The size of each slab in bytes. */
  readonly slabs: readonly number[];
  /** By group, then plane. */
  readonly ranges: readonly (readonly PlaneRange[])[];
}

/**
 * Lays planes end to end, aligned for binding, and begins a slab whenever the last one is full: at
 * `preferredBytes`, which only a plane that is larger by itself exceeds. O(planes).
 * Throws `PLANE_TOO_LARGE` where one plane exceeds what a binding may hold, and `PLANE_ALIGNMENT`
 * where a token's bytes are not whole words.
 */
export function planSlabs(
  layout: CacheLayout,
  limits: SlabLimits,
  preferredBytes = Infinity,
): SlabPlan {
  const alignment = limits.minStorageBufferOffsetAlignment;
  const capacity = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
  const slabBytes = Math.min(capacity, preferredBytes);
  const slabs: number[] = [];
  const place = (size: number): PlaneRange => {
    const open = slabs.length - 1;
    const offset = open < 0 ? 0 : roundUp(slabs[open]!, alignment);
    if (open < 0 || offset + size > slabBytes) {
      slabs.push(size);
      return { slab: slabs.length - 1, offset: 0, size };
    }
    slabs[open] = offset + size;
    return { slab: open, offset, size };
  };
  const ranges = layout.groups.map((group) =>
    group.planes.map((plane) => {
      checkPlane(layout, group, plane, capacity);
      return place(group.deviceBlocks * planeBlockBytes(layout, plane));
    }),
  );
  return { slabs, ranges };
}

function checkPlane(layout: CacheLayout, group: GroupLayout, plane: Plane, capacity: number): void {
  const called = `the '${plane.name}' plane of layer ${plane.layer}`;
  if (plane.bytesPerToken % WORD_BYTES !== 0) {
    throw new PagedKvError(
      'PLANE_ALIGNMENT',
      `${called} has ${plane.bytesPerToken} bytes a token; a GPU moves whole words of ${WORD_BYTES}`,
    );
  }
  const blockSize = planeBlockBytes(layout, plane);
  const bytes = group.deviceBlocks * blockSize;
  if (bytes <= capacity) return;
  throw new PagedKvError(
    'PLANE_TOO_LARGE',
    `${called} needs ${bytes} bytes in one buffer, and this GPU device binds ${capacity} at most: ` +
      `use at most ${Math.floor(capacity / blockSize)} device blocks, or request the device with the ` +
      `adapter's own limits (maxBufferSize, maxStorageBufferBindingSize)`,
  );
}

export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
