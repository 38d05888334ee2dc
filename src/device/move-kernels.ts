/**
 * Moving blocks by compute kernels that read a list of blocks: thousands of moves are one dispatch for each
 * slab, where copies would be thousands of commands.
 */
import type { CacheLayout } from '../plan.js';
import { COPY_WORDS, MOVE_WORDS } from '../words.js';
import type { NearPart } from './arena.js';
import { BufferUsage } from './flags.js';
import {
  copyWorkgroups,
  HEADER_WORDS,
  plainShader,
  int8Shader,
  type MoveShader,
} from './move-shaders.js';
import { createPackedBuffer, type BlockMover } from './moves.js';
import type { Piece } from './pieces.js';
import type { Pool, PoolPlane } from './pool.js';
import type { Quantization } from './quantized.js';
import { sortedBy } from './runs.js';
import type { PlaneSpan, Stage } from './stages.js';

/** Records of one dispatch; also the room in the list buffer. */
const MAX_RECORDS = 4096;

type Kernel = 'copyWithin' | 'gather' | 'scatter';

/** The compiled kernels, and what they were compiled from. */
export interface MoveKernels {
  readonly shader: MoveShader;
  readonly pipelines: Readonly<Record<Kernel, GPUComputePipeline>>;
}

/** Kernels for the blocks of a layout. Rejects as `int8Shader` throws. */
export async function compileMoves(
  device: GPUDevice,
  layout: CacheLayout,
  quantize?: Quantization,
): Promise<MoveKernels> {
  const shader = quantize === undefined ? plainShader(layout) : int8Shader(layout);
  const module = device.createShaderModule({ label: 'pagedkv moves', code: shader.code });
  const compile = (entryPoint: Kernel): Promise<GPUComputePipeline> =>
    device.createComputePipelineAsync({
      label: `pagedkv ${entryPoint}`,
      layout: 'auto',
      compute: { module, entryPoint },
    });
  const [copyWithin, gather, scatter] = await Promise.all([
    compile('copyWithin'),
    compile('gather'),
    compile('scatter'),
  ]);
  return { shader, pipelines: { copyWithin, gather, scatter } };
}

/** The planes of one group that lie in one slab, which are neighbours: what one dispatch moves. */
interface Part {
  readonly shape: GPUBuffer;
  readonly firstPlane: number;
  readonly endPlane: number;
  readonly workgroups: Readonly<Record<Kernel, number>>;
  readonly bindings: Readonly<Record<Kernel, GPUBindGroup>>;
}

export class KernelMover implements BlockMover {
  readonly maxRecords = MAX_RECORDS;
  readonly #device: GPUDevice;
  readonly #pool: Pool;
  readonly #kernels: MoveKernels;
  readonly #packed: GPUBuffer;
  readonly #list: GPUBuffer;
  /** The list as it is uploaded, in one piece. */
  readonly #mirror: Uint32Array<ArrayBuffer>;
  /** Words of the list before its records. */
  readonly #header: number;
  /** By group. */
  readonly #parts: readonly (readonly Part[])[];

  constructor(pool: Pool, packedBytes: number, kernels: MoveKernels) {
    this.#device = pool.device;
    this.#pool = pool;
    this.#kernels = kernels;
    this.#packed = createPackedBuffer(pool.device, packedBytes);
    this.#header = HEADER_WORDS + pool.groups.length;
    this.#mirror = new Uint32Array(this.#header + MAX_RECORDS * COPY_WORDS);
    this.#list = pool.device.createBuffer({
      label: 'pagedkv move list',
      size: this.#mirror.byteLength,
      usage: BufferUsage.STORAGE | BufferUsage.COPY_DST,
    });
    this.#parts = pool.groups.map((_, group) => this.#partsOf(group));
  }

  /** Pieces are of one group each. */
  arrange(moves: Uint32Array, column: number): Uint32Array {
    return this.#parts.length > 1 ? sortedBy(moves, column) : moves.slice();
  }

  partsOf({ group, span }: Piece): readonly NearPart[] | undefined {
    if (span.bytes === this.#pool.groups[group]!.record.bytes) return undefined;
    return [{ near: 0, bytes: span.bytes, plane: span.first }];
  }

  copyWithin(copies: Uint32Array, stage: Stage): void {
    for (const [group, { first }] of stage.entries()) this.#mirror[HEADER_WORDS + group] = first;
    const count = copies.length / COPY_WORDS;
    for (let first = 0; first < count; first += MAX_RECORDS) {
      const now = Math.min(MAX_RECORDS, count - first);
      this.#upload(copies.subarray(first * COPY_WORDS, (first + now) * COPY_WORDS));
      const encoder = this.#device.createCommandEncoder();
      for (const group of stage.keys()) {
        this.#encode(encoder, 'copyWithin', group, stage[group]!, now);
      }
      this.#device.queue.submit([encoder.finish()]);
    }
  }

  gather(moves: Uint32Array, piece: Piece, target: GPUBuffer): void {
    const { group, span, first, end, bytes } = piece;
    this.#uploadPiece(moves, piece);
    const encoder = this.#device.createCommandEncoder();
    this.#encode(encoder, 'gather', group, span, end - first);
    // A buffer that can be mapped cannot be written by a kernel.
    encoder.copyBufferToBuffer(this.#packed, 0, target, 0, bytes);
    this.#device.queue.submit([encoder.finish()]);
  }

  scatter(moves: Uint32Array, piece: Piece, source: GPUBuffer): void {
    const { group, span, first, end, bytes } = piece;
    this.#uploadPiece(moves, piece);
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, this.#packed, 0, bytes);
    this.#encode(encoder, 'scatter', group, span, end - first);
    this.#device.queue.submit([encoder.finish()]);
  }

  destroy(): void {
    this.#packed.destroy();
    this.#list.destroy();
    for (const part of this.#parts.flat()) part.shape.destroy();
  }

  #uploadPiece(moves: Uint32Array, { group, first, end, span }: Piece): void {
    this.#mirror[0] = span.bytes / this.#kernels.shader.unitBytes;
    this.#mirror[1] = span.offset / this.#kernels.shader.unitBytes;
    this.#mirror[HEADER_WORDS + group] = span.first;
    this.#upload(moves.subarray(first * MOVE_WORDS, end * MOVE_WORDS));
  }

  #upload(records: Uint32Array): void {
    this.#mirror.set(records, this.#header);
    const words = this.#header + records.length;
    this.#device.queue.writeBuffer(this.#list, 0, this.#mirror, 0, words);
  }

  #encode(
    encoder: GPUCommandEncoder,
    kernel: Kernel,
    group: number,
    span: PlaneSpan,
    records: number,
  ): void {
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.#kernels.pipelines[kernel]);
    for (const part of this.#parts[group]!) {
      const first = Math.max(part.firstPlane, span.first);
      const end = Math.min(part.endPlane, span.end);
      if (first >= end) continue;
      pass.setBindGroup(0, part.bindings[kernel]);
      pass.dispatchWorkgroups(part.workgroups[kernel], records, end - first);
    }
    pass.end();
  }

  #partsOf(group: number): Part[] {
    const pool = this.#pool;
    const { planes } = pool.groups[group]!;
    const slabs = [...new Set(planes.map((plane) => plane.slab))];
    return slabs.map((slab) => {
      const mine = planes.filter((plane) => plane.slab === slab);
      const firstPlane = planes.indexOf(mine[0]!);
      const bytes = Math.max(...mine.map((plane) => plane.blockBytes));
      const shape = this.#createShape(group, firstPlane, mine);
      const { shader } = this.#kernels;
      const moving = shader.workgroups(bytes);
      const copying = copyWorkgroups(bytes, shader.unitBytes);
      return {
        shape,
        firstPlane,
        endPlane: firstPlane + mine.length,
        workgroups: { copyWithin: copying, gather: moving, scatter: moving },
        bindings: {
          copyWithin: this.#bind('copyWithin', [shape, this.#list, pool.slabs[slab]!]),
          gather: this.#bind('gather', [shape, this.#list, pool.slabs[slab]!, this.#packed]),
          scatter: this.#bind('scatter', [shape, this.#list, pool.slabs[slab]!, this.#packed]),
        },
      };
    });
  }

  #createShape(group: number, firstPlane: number, planes: readonly PoolPlane[]): GPUBuffer {
    const words = [group, firstPlane, this.#header, 0];
    const { record } = this.#pool.groups[group]!;
    for (const [i, { offset, blockBytes, bytesPerToken }] of planes.entries()) {
      const inRecord = record.planes[firstPlane + i]!.offset;
      const bytes = [offset, blockBytes, inRecord, bytesPerToken];
      words.push(...bytes.map((each) => each / this.#kernels.shader.unitBytes));
    }
    const data = new Uint32Array(words);
    const shape = this.#device.createBuffer({
      label: `pagedkv move shape of group ${group}`,
      size: data.byteLength,
      usage: BufferUsage.STORAGE | BufferUsage.COPY_DST,
    });
    this.#device.queue.writeBuffer(shape, 0, data);
    return shape;
  }

  #bind(kernel: Kernel, buffers: readonly GPUBuffer[]): GPUBindGroup {
    return this.#device.createBindGroup({
      layout: this.#kernels.pipelines[kernel].getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
  }
}
