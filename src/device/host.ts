/**
 * KV memory in host memory: one `ArrayBuffer` a plane and tier. For engines that attend on the CPU, and
 * the simplest device there is: what the others do is checked against it.
 */
import { PagedKvError } from '../errors.js';
import type { CacheLayout, Executable, Execution } from '../plan.js';
import { COPY_WORDS, MOVE_WORDS } from '../words.js';
import { checkByteLength, type BlockCache } from './cache.js';
import {
  blocksIn,
  checkBlock,
  checkTier,
  findPlane,
  groupAt,
  modelOf,
  planeAt,
  planeBlockBytes,
  type HasLayout,
  type Tier,
} from './layout.js';
import { readRun, type Run } from './runs.js';
import { ticketOf } from './ticket.js';

export { poisonBlocks, type BlockAccess, type BlockCache } from './cache.js';
export type { HasLayout, Tier } from './layout.js';

/** Elements of a plane: values for f32, bit patterns for f16. */
export type PlaneView = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;

export class HostCache implements BlockCache {
  readonly layout: CacheLayout;
  /** By group, then plane. */
  #device: readonly (readonly Uint8Array<ArrayBuffer>[])[];
  #host: readonly (readonly Uint8Array<ArrayBuffer>[])[];
  readonly #run: Run = { group: 0, source: 0, target: 0, blocks: 0 };
  #destroyed = false;

  /** Allocates all planes of both tiers, zeroed. Throws `OUT_OF_MEMORY` where one does not fit. */
  constructor(kv: HasLayout) {
    this.layout = kv.layout;
    this.#device = allocate(kv.layout, 'device');
    this.#host = allocate(kv.layout, 'host');
  }

  /**
   * Executes the moves of a step or transfer before it returns; the promise is there for devices that take
   * longer. When a move throws, the work ends as failed and the error is passed on.
   */
  execute(work: Executable): Execution {
    return ticketOf(
      settle(() => {
        this.#execute(work);
      }),
    );
  }

  /** The keys of a layer, `[deviceBlocks, blockSize, kvHeads, headDim]`: a view, made anew by each call. */
  key(layer: number): PlaneView {
    return this.#elements(layer, 'key');
  }

  /** The values of a layer, shaped as its keys. */
  value(layer: number): PlaneView {
    return this.#elements(layer, 'value');
  }

  /** All bytes of one plane; block `b` begins at `b * blockSize * bytesPerToken`. The memory itself, no copy. */
  plane(group: number, plane: number, tier: Tier = 'device'): Uint8Array<ArrayBuffer> {
    this.#checkUsable();
    planeAt(this.layout, group, plane);
    checkTier(tier);
    return (tier === 'device' ? this.#device : this.#host)[group]![plane]!;
  }

  readBlock(
    group: number,
    plane: number,
    block: number,
    tier: Tier = 'device',
  ): Promise<Uint8Array<ArrayBuffer>> {
    return settle(() => this.#block(group, plane, block, tier).slice());
  }

  writeBlock(
    group: number,
    plane: number,
    block: number,
    bytes: Uint8Array,
    tier: Tier = 'device',
  ): Promise<void> {
    return settle(() => {
      const target = this.#block(group, plane, block, tier);
      checkByteLength(bytes, target.length);
      target.set(bytes);
    });
  }

  destroy(): void {
    this.#destroyed = true;
    this.#device = [];
    this.#host = [];
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  #execute(work: Executable): void {
    this.#checkUsable();
    const { moves } = work;
    work.beginExecute();
    try {
      this.#transfer(moves.offloads, 'device', 'host');
      this.#transfer(moves.onboards, 'host', 'device');
      this.#copy(moves.copies);
    } catch (error) {
      work.endExecute(false);
      throw error;
    }
    work.endExecute(true);
  }

  #checkUsable(): void {
    if (this.#destroyed) throw new PagedKvError('CACHE_DESTROYED', 'the cache was destroyed');
  }

  #elements(layer: number, name: string): PlaneView {
    const { dtype } = modelOf(this.layout);
    const { group, plane } = findPlane(this.layout, layer, name);
    const { buffer } = this.plane(group, plane);
    return dtype === 'f32' ? new Float32Array(buffer) : new Uint16Array(buffer);
  }

  #block(group: number, plane: number, block: number, tier: Tier): Uint8Array<ArrayBuffer> {
    const bytes = this.plane(group, plane, tier);
    checkBlock(groupAt(this.layout, group), tier, block);
    const size = planeBlockBytes(this.layout, planeAt(this.layout, group, plane));
    return bytes.subarray(block * size, (block + 1) * size);
  }

  #transfer(moves: Uint32Array, from: Tier, to: Tier): void {
    const sources = from === 'device' ? this.#device : this.#host;
    const targets = to === 'device' ? this.#device : this.#host;
    const run = this.#run;
    const end = moves.length / MOVE_WORDS;
    for (let i = 0; i < end;) {
      i = readRun(moves, i, end, run);
      const group = groupAt(this.layout, run.group);
      checkBlock(group, from, run.source + run.blocks - 1);
      checkBlock(group, to, run.target + run.blocks - 1);
      for (let p = 0; p < group.planes.length; p++) {
        const size = planeBlockBytes(this.layout, group.planes[p]!);
        const begin = run.source * size;
        const bytes = sources[run.group]![p]!.subarray(begin, begin + run.blocks * size);
        targets[run.group]![p]!.set(bytes, run.target * size);
      }
    }
  }

  #copy(copies: Uint32Array): void {
    for (let at = 0; at < copies.length; at += COPY_WORDS) {
      const group = groupAt(this.layout, copies[at]!);
      const source = copies[at + 1]!;
      const target = copies[at + 2]!;
      const tokens = copies[at + 3]!;
      checkBlock(group, 'device', source);
      checkBlock(group, 'device', target);
      for (let p = 0; p < group.planes.length; p++) {
        const plane = group.planes[p]!;
        const size = planeBlockBytes(this.layout, plane);
        const begin = source * size;
        const end = begin + tokens * plane.bytesPerToken;
        this.#device[copies[at]!]![p]!.copyWithin(target * size, begin, end);
      }
    }
  }
}

function allocate(layout: CacheLayout, tier: Tier): Uint8Array<ArrayBuffer>[][] {
  return layout.groups.map((group) =>
    group.planes.map((plane) => {
      const bytes = blocksIn(group, tier) * planeBlockBytes(layout, plane);
      try {
        return new Uint8Array(bytes);
      } catch (cause) {
        throw new PagedKvError(
          'OUT_OF_MEMORY',
          `no ${bytes} bytes for the '${plane.name}' plane of layer ${plane.layer} in the ${tier} tier`,
          { cause },
        );
      }
    }),
  );
}

function settle<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(work());
  });
}
