/** The device tier in GPU memory: the slabs, and where in them every plane and block is. */
import type { CacheLayout } from '../plan.js';
import { BufferUsage } from './flags.js';
import { blockBytes, groupAt, planeBlockBytes } from './layout.js';
import { recordLayout, type Quantization, type RecordLayout } from './quantized.js';
import { planSlabs, type PlaneRange } from './slabs.js';

/** One plane, with all that it takes to move a block of it. Bytes. */
export interface PoolPlane extends PlaneRange {
  readonly bytesPerToken: number;
  readonly blockBytes: number;
  /** Where this plane begins among the block's planes end to end. */
  readonly packedOffset: number;
}

export interface PoolGroup {
  readonly planes: readonly PoolPlane[];
  /** One block over all planes. */
  readonly blockBytes: number;
  /** As a block is in the host tier. */
  readonly record: RecordLayout;
}

export class Pool {
  readonly device: GPUDevice;
  readonly layout: CacheLayout;
  readonly slabs: readonly GPUBuffer[];
  readonly groups: readonly PoolGroup[];

  /** Allocates the slabs. Throws the errors of `planSlabs`; a lack of memory shows in the device's error scope. */
  constructor(
    device: GPUDevice,
    layout: CacheLayout,
    maxSlabBytes?: number,
    quantize?: Quantization,
  ) {
    const plan = planSlabs(layout, device.limits, maxSlabBytes);
    this.device = device;
    this.layout = layout;
    this.slabs = plan.slabs.map((size, i) =>
      device.createBuffer({
        label: `pagedkv slab ${i}`,
        size,
        usage: BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST,
      }),
    );
    this.groups = layout.groups.map((group, g) => ({
      planes: poolPlanes(layout, g, plan.ranges[g]!),
      blockBytes: blockBytes(layout, group),
      record: recordLayout(layout, group, quantize),
    }));
  }

  slabOf(plane: PoolPlane): GPUBuffer {
    return this.slabs[plane.slab]!;
  }

  destroy(): void {
    for (const slab of this.slabs) slab.destroy();
  }
}

function poolPlanes(
  layout: CacheLayout,
  group: number,
  ranges: readonly PlaneRange[],
): PoolPlane[] {
  let packedOffset = 0;
  return groupAt(layout, group).planes.map((plane, p) => {
    const bytes = planeBlockBytes(layout, plane);
    const { bytesPerToken } = plane;
    const placed = { ...ranges[p]!, bytesPerToken, blockBytes: bytes, packedOffset };
    packedOffset += bytes;
    return placed;
  });
}
