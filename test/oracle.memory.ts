/** Memory as the oracle uses it: a cache that executes plans, a pass that writes, and everything read back. */
import { HostAttention } from '../src/attention/index.js';
import { HostCache, type BlockCache, type HostCacheOptions } from '../src/device/host.js';
import type { KvCacheManager } from '../src/index.js';
import type { Attention } from '../src/plan.js';
import { Faults } from './oracle.faults.js';
import { MODEL, PLANES, planeOf, WIDTH, type Prefix } from './oracle.payload.js';

/** The most tokens that a step of the oracle has. */
export const MAX_BATCH_TOKENS = 64;

/** All planes of both tiers, in the order of the layout. */
export interface Contents {
  readonly device: readonly Float32Array[];
  readonly host: readonly Float32Array[];
  /** The block table as the device has it; undefined where it reads the manager's own. */
  readonly table: Int32Array | undefined;
}

export interface OracleMemory {
  readonly cache: BlockCache;
  /** Where its transfers can be made to fail. */
  readonly faults?: Faults | undefined;
  /** The forward pass of the step executed last: writes each query token's keys and values into its slot. */
  write(attention: Attention, prefixes: readonly Prefix[]): void;
  /** Fills slots of the device tier with NaN. */
  poisonSlots(first: number, count: number): void;
  read(): Promise<Contents>;
}

/** Pieces so small that larger transfers take several. */
const PIECES: HostCacheOptions = { bytesAtOnce: 0, pieceBytes: 5000 };

/** How blocks move: by the caller's thread, by others, or by others and at random. */
const WAYS = { 'at once': {}, 'by threads': PIECES, 'with faults': PIECES } as const;

export class HostMemory implements OracleMemory {
  readonly cache: HostCache;
  readonly faults: Faults | undefined;
  readonly #attention: HostAttention;
  readonly #device: readonly Float32Array[];

  constructor(kv: KvCacheManager, how: keyof typeof WAYS) {
    this.faults = how === 'with faults' ? new Faults() : undefined;
    const intercept = this.faults === undefined ? {} : { intercept: this.faults.intercept };
    this.cache = new HostCache(kv, { ...WAYS[how], ...intercept });
    this.#attention = new HostAttention(this.cache, { queryHeads: MODEL.kvHeads });
    this.#device = Array.from(
      { length: PLANES },
      (_, plane) => new Float32Array(this.cache.plane(0, plane).buffer),
    );
  }

  write(attention: Attention, prefixes: readonly Prefix[]): void {
    for (let layer = 0; layer < MODEL.layers; layer++) {
      const [key, value] = [planeOf(prefixes, 2 * layer), planeOf(prefixes, 2 * layer + 1)];
      this.#attention.write(attention, layer, key, value);
    }
  }

  poisonSlots(first: number, count: number): void {
    for (const plane of this.#device) {
      plane.fill(NaN, first * WIDTH, (first + count) * WIDTH);
    }
  }

  /** Of the device tier the memory itself, no copy. */
  async read(): Promise<Contents> {
    return { device: this.#device, host: await readHost(this.cache), table: undefined };
  }
}

/** All planes of the host tier. */
export async function readHost(cache: BlockCache): Promise<Float32Array[]> {
  const { layout } = cache;
  const blocks = [...Array(layout.groups[0]!.hostBlocks).keys()];
  const planes = Array.from({ length: PLANES }, async (_, plane) => {
    const all = new Float32Array(blocks.length * layout.blockSize * WIDTH);
    for (const block of blocks) {
      const bytes = await cache.readBlock(0, plane, block, 'host');
      all.set(new Float32Array(bytes.buffer), block * layout.blockSize * WIDTH);
    }
    return all;
  });
  return Promise.all(planes);
}
