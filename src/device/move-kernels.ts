/**
 * Moving blocks by compute kernels that read a list of blocks: thousands of moves are one dispatch for each
 * slab, where copies would be thousands of commands.
 */
import type { CacheLayout } from '../plan.js';
import { COPY_WORDS, MOVE_WORDS, WORD_BYTES } from '../words.js';
import type { NearPart } from './arena.js';
import { BufferUsage } from './flags.js';
import { createPackedBuffer, type BlockMover } from './moves.js';
import type { Piece } from './pieces.js';
import type { Pool, PoolPlane } from './pool.js';
import { sortedBy } from './runs.js';
import type { PlaneSpan, Stage } from './stages.js';

const WORKGROUP = 64;
/** Units each invocation moves, so that a small block does not take many workgroups. */
const UNITS_PER_INVOCATION = 4;
/** A GPU moves four words as fast as one. */
const WIDE_BYTES = 4 * WORD_BYTES;
/** Records of one dispatch; also the room in the list buffer. */
const MAX_RECORDS = 4096;

/** Of a list, before its records: the length of a packed record, where in a whole one it begins; then the first plane, by group. */
const HEADER_WORDS = 2;

/**
 * `unit` is what is moved at once, and counted in, of memory. A workgroup moves (a part of) one plane of one
 * record.
 */
const shaderFor = (unit: 'u32' | 'vec4u'): string => /* wgsl */ `
struct Plane { base: u32, block: u32, recordOffset: u32, token: u32 }
struct Shape { group: u32, firstPlane: u32, records: u32, unused: u32, planes: array<Plane> }

@group(0) @binding(0) var<storage, read> shape: Shape;
@group(0) @binding(1) var<storage, read> list: array<u32>;
@group(0) @binding(2) var<storage, read_write> pool: array<${unit}>;
@group(0) @binding(3) var<storage, read_write> records: array<${unit}>;

const stride = ${WORKGROUP}u;

fn planeOf(index: u32) -> Plane {
  let first = list[${HEADER_WORDS}u + shape.group];
  return shape.planes[max(first, shape.firstPlane) - shape.firstPlane + index];
}

fn packed(record: u32, plane: Plane) -> u32 {
  return record * list[0] + plane.recordOffset - list[1];
}

@compute @workgroup_size(${WORKGROUP})
fn copyWithin(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
              @builtin(local_invocation_index) thread: u32) {
  let at = shape.records + id.y * ${COPY_WORDS}u;
  if (list[at] != shape.group) { return; }
  let plane = planeOf(id.z);
  let source = plane.base + list[at + 1u] * plane.block;
  let to = plane.base + list[at + 2u] * plane.block;
  let units = list[at + 3u] * plane.token;
  for (var i = id.x * stride + thread; i < units; i += count.x * stride) {
    pool[to + i] = pool[source + i];
  }
}

@compute @workgroup_size(${WORKGROUP})
fn gather(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
          @builtin(local_invocation_index) thread: u32) {
  let plane = planeOf(id.z);
  let source = plane.base + list[shape.records + id.y * ${MOVE_WORDS}u + 1u] * plane.block;
  let to = packed(id.y, plane);
  for (var i = id.x * stride + thread; i < plane.block; i += count.x * stride) {
    records[to + i] = pool[source + i];
  }
}

@compute @workgroup_size(${WORKGROUP})
fn scatter(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u,
           @builtin(local_invocation_index) thread: u32) {
  let plane = planeOf(id.z);
  let source = packed(id.y, plane);
  let to = plane.base + list[shape.records + id.y * ${MOVE_WORDS}u + 2u] * plane.block;
  for (var i = id.x * stride + thread; i < plane.block; i += count.x * stride) {
    pool[to + i] = records[source + i];
  }
}
`;

type Kernel = 'copyWithin' | 'gather' | 'scatter';
/** The compiled kernels, and the bytes of the unit they count in. */
export interface MoveKernels {
  readonly unitBytes: number;
  readonly pipelines: Readonly<Record<Kernel, GPUComputePipeline>>;
}

/** Kernels for the blocks of a layout. */
export async function compileMoves(device: GPUDevice, layout: CacheLayout): Promise<MoveKernels> {
  const planes = layout.groups.flatMap((group) => group.planes);
  const isWide = planes.every(({ bytesPerToken }) => bytesPerToken % WIDE_BYTES === 0);
  const code = shaderFor(isWide ? 'vec4u' : 'u32');
  const module = device.createShaderModule({ label: 'pagedkv moves', code });
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
  const unitBytes = isWide ? WIDE_BYTES : WORD_BYTES;
  return { unitBytes, pipelines: { copyWithin, gather, scatter } };
}

/** The planes of one group that lie in one slab, which are neighbours: what one dispatch moves. */
interface Part {
  readonly shape: GPUBuffer;
  readonly firstPlane: number;
  readonly endPlane: number;
  readonly workgroupsPerBlock: number;
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
    if (span.bytes === this.#pool.groups[group]!.blockBytes) return undefined;
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
    this.#mirror[0] = span.bytes / this.#kernels.unitBytes;
    this.#mirror[1] = span.offset / this.#kernels.unitBytes;
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
      pass.dispatchWorkgroups(part.workgroupsPerBlock, records, end - first);
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
      const units = bytes / this.#kernels.unitBytes;
      const shape = this.#createShape(group, firstPlane, mine);
      return {
        shape,
        firstPlane,
        endPlane: firstPlane + mine.length,
        workgroupsPerBlock: Math.ceil(units / (WORKGROUP * UNITS_PER_INVOCATION)),
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
    for (const plane of planes) {
      const { offset, blockBytes, packedOffset, bytesPerToken } = plane;
      const bytes = [offset, blockBytes, packedOffset, bytesPerToken];
      words.push(...bytes.map((each) => each / this.#kernels.unitBytes));
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
