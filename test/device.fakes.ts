/** Layouts and plans made by hand, so that devices are tested without a manager. */
import type {
  Attention,
  CacheLayout,
  Executable,
  GroupLayout,
  ModelShape,
  Moves,
  Plane,
  TransferTimes,
} from '../src/plan.js';

export interface LayoutSize {
  blockSize: number;
  deviceBlocks: number;
  hostBlocks?: number;
  maxSequences?: number;
  maxBlocksPerSequence?: number;
}

export function groupLayout(name: string, planes: readonly Plane[], size: LayoutSize): GroupLayout {
  const { deviceBlocks, hostBlocks = 0 } = size;
  return { name, kind: 'full', planes, deviceBlocks, hostBlocks };
}

export function layoutOf(
  groups: readonly GroupLayout[],
  size: LayoutSize,
  model?: ModelShape,
): CacheLayout {
  const { blockSize, maxSequences = 8, maxBlocksPerSequence = 16 } = size;
  return { blockSize, maxSequences, maxBlocksPerSequence, model, groups };
}

/** The layout that a manager makes of a model: one group of keys and values. */
export function modelLayout(model: ModelShape, size: LayoutSize): CacheLayout {
  const bytesPerToken = model.kvHeads * model.headDim * (model.dtype === 'f32' ? 4 : 2);
  const planes = Array.from({ length: model.layers }, (_, layer) => [
    { layer, name: 'key', bytesPerToken },
    { layer, name: 'value', bytesPerToken },
  ]).flat();
  return layoutOf([groupLayout('all', planes, size)], size, model);
}

/** Two groups whose planes differ in number and width, from one word a token up. */
export function oddLayout(size: LayoutSize): CacheLayout {
  const wide = [
    { layer: 0, name: 'key', bytesPerToken: 64 },
    { layer: 0, name: 'value', bytesPerToken: 256 },
    { layer: 2, name: 'scale', bytesPerToken: 4 },
  ];
  const narrow = [{ layer: 1, name: 'latent', bytesPerToken: 36 }];
  return layoutOf([groupLayout('wide', wide, size), groupLayout('narrow', narrow, size)], size);
}

export interface MoveLists {
  /** group, device block, host block */
  offloads?: readonly (readonly [number, number, number])[];
  /** group, host block, device block */
  onboards?: readonly (readonly [number, number, number])[];
  /** group, source, target, tokens */
  copies?: readonly (readonly [number, number, number, number])[];
}

export function movesOf({ offloads = [], onboards = [], copies = [] }: MoveLists): Moves {
  return {
    offloads: Uint32Array.from(offloads.flat()),
    onboards: Uint32Array.from(onboards.flat()),
    copies: Uint32Array.from(copies.flat()),
  };
}

/** A step or transfer that records what a device tells it. */
export class FakeWork implements Executable {
  readonly moves: Moves;
  readonly attention?: Attention;
  readonly events: string[] = [];
  /** As the device told them with the end. */
  times: TransferTimes | undefined;

  constructor(moves: MoveLists = {}, attention?: Attention) {
    this.moves = movesOf(moves);
    if (attention !== undefined) this.attention = attention;
  }

  beginExecute(): void {
    this.events.push('begin');
  }

  endExecute(ok: boolean, times?: TransferTimes): void {
    this.events.push(ok ? 'done' : 'failed');
    this.times = times;
  }
}
