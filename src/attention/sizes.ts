/** Which kernels attend on a device, and how large their workgroups and tiles are. */
import { PagedKvError } from '../errors.js';
import { BYTES_PER_ELEMENT } from '../groups.js';
import type { DType } from '../plan.js';
import { partialVectors, type KernelShape } from './attend-shader.js';
import { partWidth } from './elements.js';
import { streamKeys, type StreamSizes } from './stream-shader.js';
import {
  stagesHalves,
  tileBytes,
  tileHeads,
  tileTokens,
  type TileChoice,
  type TileSizes,
} from './tile-shader.js';
import type { WorkSizes } from './work.js';

/** What a device can do. */
export interface Capabilities {
  /** Runs on the CPU: invocations run one after the other, and each pays for every barrier. */
  readonly isSoftware: boolean;
  /** Invocations that follow one another and are in one subgroup; 1: none. */
  readonly team: number;
  readonly maxWorkgroupStorage: number;
}

export interface Kernels {
  /** Of single query tokens: through registers where there are subgroups and not too many heads. */
  readonly single:
    | { readonly kind: 'stream'; readonly sizes: StreamSizes }
    | { readonly kind: 'tile'; readonly sizes: TileSizes };
  /** Workgroups for the query heads of one KV head. */
  readonly singleShares: number;
  /** Of several query tokens of a sequence. */
  readonly tile: TileSizes;
  readonly work: WorkSizes;
}

/** Query heads to a KV head beyond which one workgroup's registers cannot hold them all. */
const MAX_STREAM_HEADS = 8;
/** Values of a head that a lane has for all its query heads: so many registers, twice. */
const LANE_VALUES = 64;
const MAX_LANE_VALUES = 16;
/** Bytes that memory moves at once. */
const WIDE_BYTES = 16;

/** The largest head of which the kernels know that it fits, by values that are computed with at once. */
const MAX_HEAD_PARTS = 128;

export function kernelsFor(shape: KernelShape, device: Capabilities): Kernels {
  checkHead(shape.headDim);
  const tile = tileSizes(shape, device, device.isSoftware ? SOFTWARE_TILES : TILES);
  const single = singleKernel(shape, device);
  const splitKeys =
    single.kind === 'stream'
      ? lcm(streamKeys(single.sizes), tile.keys)
      : Math.max(single.sizes.keys, tile.keys);
  const least = device.isSoftware ? SOFTWARE_SPLIT : SPLIT;
  return {
    single,
    singleShares:
      single.kind === 'stream' ? 1 : Math.ceil(shape.headsPerKv / tileHeads(shape, single.sizes)),
    tile,
    work: {
      queryHeads: shape.queryHeads,
      tileTokens: tileTokens(shape, tile),
      workgroupsPerItem: shape.kvHeads * Math.ceil(shape.headsPerKv / tileHeads(shape, tile)),
      wantedWorkgroups: least.workgroups,
      splitKeys: Math.ceil(least.keys / splitKeys) * splitKeys,
      partialRows: Math.floor(least.partialBytes / partialBytes(shape.headDim)),
    },
  };
}

export function partialBytes(headDim: number): number {
  return partialVectors(headDim) * partWidth(headDim) * 4;
}

/** Enough workgroups that the last ones to run do not matter, and parts so long that putting them together does not. */
const SPLIT = { workgroups: 4096, keys: 256, partialBytes: 16 * 2 ** 20 };
const SOFTWARE_SPLIT = { workgroups: 16, keys: 256, partialBytes: 2 * 2 ** 20 };

/** Best first. */
const TILES: readonly TileChoice[] = [
  { workgroup: 128, rows: 32, keys: 32 },
  { workgroup: 128, rows: 16, keys: 32 },
  { workgroup: 128, rows: 16, keys: 16 },
  { workgroup: 64, rows: 8, keys: 16 },
  { workgroup: 64, rows: 8, keys: 8 },
  { workgroup: 32, rows: 4, keys: 8 },
  { workgroup: 16, rows: 2, keys: 8 },
  { workgroup: 8, rows: 2, keys: 4 },
];

const SOFTWARE_TILES: readonly TileChoice[] = [
  { workgroup: 16, rows: 4, keys: 16 },
  { workgroup: 16, rows: 4, keys: 8 },
  { workgroup: 8, rows: 2, keys: 4 },
];

/** The first that fits into workgroup memory and has no more rows than needed. */
function tileSizes(
  shape: KernelShape,
  { maxWorkgroupStorage, team }: Capabilities,
  choices: readonly TileChoice[],
  maxRows = Infinity,
): TileSizes {
  const stagedBytes = BYTES_PER_ELEMENT[stagesHalves(shape) ? 'f16' : 'f32'];
  const found = choices.find(
    (choice) =>
      choice.rows <= maxRows &&
      tileBytes(shape.headDim, choice, stagedBytes) <= maxWorkgroupStorage,
  );
  if (found === undefined) {
    throw new PagedKvError(
      'ATTENTION_SHAPE',
      `a head of ${shape.headDim} does not fit into the ${maxWorkgroupStorage} bytes of a workgroup's memory`,
    );
  }
  return { ...found, lanes: team };
}

function singleKernel(shape: KernelShape, device: Capabilities): Kernels['single'] {
  const stream = streamSizes(shape, device);
  if (stream !== undefined) return { kind: 'stream', sizes: stream };
  const maxRows = Math.max(2, 2 ** Math.ceil(Math.log2(shape.headsPerKv)));
  const choices = device.isSoftware ? SOFTWARE_TILES : TILES;
  return { kind: 'tile', sizes: tileSizes(shape, device, choices, maxRows) };
}

function streamSizes(shape: KernelShape, device: Capabilities): StreamSizes | undefined {
  const { headDim, headsPerKv, dtype } = shape;
  if (device.team < 4 || headsPerKv > MAX_STREAM_HEADS || headDim % 4 !== 0) return undefined;
  const wanted = Math.min(MAX_LANE_VALUES, LANE_VALUES / headsPerKv);
  const { team, width } = bestTeam(headDim, dtype, device.team, wanted);
  if (device.isSoftware) {
    return { workgroup: Math.max(16, team), team, width, keys: 1 };
  }
  return { workgroup: 128, team, width, keys: headsPerKv <= 2 ? 4 : 2 };
}

/** As few values a lane as wanted, else as near as possible; then as many at once, in as small a team. */
function bestTeam(
  headDim: number,
  dtype: DType,
  maxTeam: number,
  wanted: number,
): { readonly team: number; readonly width: number } {
  let best = { team: 1, width: 4, excess: Infinity };
  for (let width = WIDE_BYTES / BYTES_PER_ELEMENT[dtype]; width >= 4; width /= 2) {
    if (headDim % width !== 0) continue;
    for (let team = 1; team <= maxTeam && (headDim / width) % team === 0; team *= 2) {
      const excess = Math.max(0, headDim / team - wanted);
      if (excess < best.excess) best = { team, width, excess };
    }
  }
  return best;
}

function lcm(a: number, b: number): number {
  let multiple = a;
  while (multiple % b !== 0) multiple += a;
  return multiple;
}

function checkHead(headDim: number): void {
  const longest = MAX_HEAD_PARTS * partWidth(headDim);
  if (headDim <= longest) return;
  throw new PagedKvError(
    'ATTENTION_SHAPE',
    `a head of ${headDim} is longer than the ${longest} that the kernels support`,
  );
}
