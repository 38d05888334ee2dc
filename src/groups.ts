/** The cache groups of a manager: of a model's layers or as given, what each reads, and its blocks. */
import { PagedKvError } from './errors.js';
import { native } from './native.js';
import type { DType, GroupKind, GroupLayout, LocalLayers, ModelShape, Plane } from './plan.js';
import { readChoice, readInteger, readOptions, show, type Given } from './validate.js';

/** Bytes of memory. */
export type Bytes = number;

/** A pool by its blocks, or by the bytes it may take: as many whole blocks of every group as fit. */
export type PoolSize = { readonly blocks: number } | { readonly bytes: Bytes };

/** Layers that share one kind of attention, for models that `model` cannot describe. */
export interface GroupOptions {
  readonly name: string;
  /** Which keys a query reads: see `GroupLayout`. The first group must read all: be `'full'`. */
  readonly kind: GroupKind;
  readonly planes: readonly Plane[];
  /** Of kind `'sliding'`, and needed there: keys that a query reads, its own among them. */
  readonly window?: number;
  /** Of kind `'chunked'`, and needed there: tokens of a chunk. */
  readonly chunk?: number;
  /** Tokens at the start of a sequence that every query reads. Default 0. */
  readonly sinks?: number;
  /** Tokens that can be taken back with all that is read before them still there. Default: a block. */
  readonly rollback?: number;
  /** Blocks on the device. Default: as many as the pool says. Only where the group does not read all. */
  readonly deviceBlocks?: number;
}

export const BYTES_PER_ELEMENT: Readonly<Record<DType, number>> = { f32: 4, f16: 2 };

const MAX_LAYERS = 65536;
const MAX_PLANES = 65536;
/** Of one plane; the bytes of a block in all planes of all groups then stay exact. */
const MAX_BYTES_PER_TOKEN = 2 ** 24;

interface Shape {
  readonly model: ModelShape | undefined;
  readonly groups: readonly Group[];
}

/** A group without its pools. */
type Group = Omit<GroupLayout, 'deviceBlocks' | 'hostBlocks'> & {
  readonly deviceBlocks: number | undefined;
};

export function readShape(given: Given<'model' | 'groups'>, blockSize: number): Shape {
  if ((given.model === undefined) === (given.groups === undefined)) {
    throw new PagedKvError('INVALID_OPTION', "give either 'model' or 'groups'");
  }
  if (given.model !== undefined) {
    const model = readModel(given.model);
    return { model, groups: groupsOf(model, blockSize) };
  }
  const groups = readList('groups', given.groups, native.maxGroups).map((group, index) =>
    readGroup(group, index, blockSize),
  );
  if (groups[0]!.kind !== 'full') {
    throw new PagedKvError('INVALID_OPTION', "the first of the groups must be of kind 'full'");
  }
  refuseTwice(
    'groups',
    groups.map((group) => group.name),
  );
  return { model: undefined, groups };
}

function readModel(options: unknown): ModelShape {
  const given = readOptions('model', options, ['layers', 'kvHeads', 'headDim', 'dtype', 'local']);
  const layers = readInteger('model.layers', given.layers, 1, MAX_LAYERS / 2);
  const local = given.local === undefined ? undefined : readLocalLayers(given.local, layers);
  return Object.freeze({
    layers,
    kvHeads: readInteger('model.kvHeads', given.kvHeads, 1, 1024),
    headDim: readInteger('model.headDim', given.headDim, 1, 4096),
    dtype: readChoice('model.dtype', given.dtype, ['f32', 'f16']),
    ...(local === undefined ? {} : { local }),
  });
}

function readLocalLayers(options: unknown, all: number): LocalLayers {
  const given = readOptions('model.local', options, ['layers', ...REACH_NAMES, 'deviceBlocks']);
  const layers = readList('model.local.layers', given.layers, all).map((layer, i) =>
    readInteger(`model.local.layers[${i}]`, layer, 0, all - 1),
  );
  refuseTwice('model.local.layers', layers.map(String));
  if (layers.length === all) {
    throw new PagedKvError(
      'INVALID_OPTION',
      'model.local.layers: at least one layer must read all',
    );
  }
  if ((given.window === undefined) === (given.chunk === undefined)) {
    throw new PagedKvError('INVALID_OPTION', "model.local needs either 'window' or 'chunk'");
  }
  return Object.freeze({ ...given, layers: Object.freeze(layers) }) as LocalLayers;
}

function groupsOf(model: ModelShape, blockSize: number): readonly Group[] {
  const bytesPerToken = model.kvHeads * model.headDim * BYTES_PER_ELEMENT[model.dtype];
  const planesOf = (isLocal: boolean): Plane[] =>
    Array.from({ length: model.layers }, (_, layer) => layer)
      .filter((layer) => (model.local?.layers.includes(layer) ?? false) === isLocal)
      .flatMap((layer) => [
        Object.freeze({ layer, name: 'key', bytesPerToken }),
        Object.freeze({ layer, name: 'value', bytesPerToken }),
      ]);
  const full: Group = {
    name: 'full',
    kind: 'full',
    planes: planesOf(false),
    deviceBlocks: undefined,
  };
  if (model.local === undefined) return [full];
  const kind = model.local.window === undefined ? 'chunked' : 'sliding';
  const reach = readReach('model.local', kind, model.local, blockSize);
  return [full, { name: 'local', kind, planes: planesOf(true), ...reach }];
}

const REACH_NAMES = ['window', 'chunk', 'sinks', 'rollback'] as const;
/** What limits the reach of each kind of group. */
const LIMIT_OF = { full: undefined, sliding: 'window', chunked: 'chunk' } as const;

type Reach = Pick<Group, (typeof REACH_NAMES)[number] | 'deviceBlocks'>;

function readReach(
  what: string,
  kind: GroupKind,
  given: Given<(typeof REACH_NAMES)[number] | 'deviceBlocks'>,
  blockSize: number,
): Reach {
  const limit = LIMIT_OF[kind];
  for (const name of [...REACH_NAMES, 'deviceBlocks'] as const) {
    const isOfKind =
      limit !== undefined && (name !== 'window' && name !== 'chunk' ? true : name === limit);
    if (isOfKind || given[name] === undefined) continue;
    throw new PagedKvError('INVALID_OPTION', `${what} of kind '${kind}' takes no '${name}'`);
  }
  if (limit === undefined) return { deviceBlocks: undefined };
  const tokens = native.maxSequenceTokens;
  return {
    [limit]: readInteger(`${what}.${limit}`, given[limit], 1, tokens),
    sinks: readInteger(`${what}.sinks`, given.sinks, 0, tokens, 0),
    rollback: readInteger(`${what}.rollback`, given.rollback, 1, tokens, blockSize),
    deviceBlocks:
      given.deviceBlocks === undefined
        ? undefined
        : readInteger(`${what}.deviceBlocks`, given.deviceBlocks, 1, native.maxBlocksPerPool),
  };
}

function readGroup(options: unknown, index: number, blockSize: number): Group {
  const what = `groups[${index}]`;
  const given = readOptions(what, options, [
    'name',
    'kind',
    'planes',
    ...REACH_NAMES,
    'deviceBlocks',
  ]);
  const planes = readList(`${what}.planes`, given.planes, MAX_PLANES).map((plane, i) =>
    readPlane(`${what}.planes[${i}]`, plane),
  );
  refuseTwice(
    `${what}.planes`,
    planes.flatMap(({ layer, name, sharedBy = [] }) =>
      [layer, ...sharedBy].map((each) => `${name} of layer ${each}`),
    ),
  );
  const kind = readChoice<GroupKind>(`${what}.kind`, given.kind, ['full', 'sliding', 'chunked']);
  return {
    name: readName(`${what}.name`, given.name),
    kind,
    planes,
    ...readReach(what, kind, given, blockSize),
  };
}

function readPlane(what: string, options: unknown): Plane {
  const given = readOptions(what, options, ['layer', 'name', 'bytesPerToken', 'sharedBy']);
  const sharedBy =
    given.sharedBy === undefined
      ? undefined
      : readList(`${what}.sharedBy`, given.sharedBy, MAX_LAYERS).map((layer, i) =>
          readInteger(`${what}.sharedBy[${i}]`, layer, 0, MAX_LAYERS),
        );
  return Object.freeze({
    layer: readInteger(`${what}.layer`, given.layer, 0, MAX_LAYERS),
    name: readName(`${what}.name`, given.name),
    bytesPerToken: readInteger(
      `${what}.bytesPerToken`,
      given.bytesPerToken,
      1,
      MAX_BYTES_PER_TOKEN,
    ),
    ...(sharedBy === undefined ? {} : { sharedBy: Object.freeze(sharedBy) }),
  });
}

/** Of the bytes that a pool may take, groups that ask for blocks get theirs first. */
export function withPools(
  groups: readonly Group[],
  blockSize: number,
  device: unknown,
  host: unknown,
): readonly GroupLayout[] {
  if (host !== undefined && groups.some(({ kind }) => kind !== 'full')) {
    throw new PagedKvError(
      'INVALID_OPTION',
      "groups that give back what lies behind have no host tier yet: leave 'host' out",
    );
  }
  const blockBytes = (some: readonly Group[]): number =>
    some
      .flatMap((group) => group.planes)
      .reduce((sum, plane) => sum + plane.bytesPerToken * blockSize, 0);
  const asking = groups.filter((group) => group.deviceBlocks !== undefined);
  const taken = asking.reduce((sum, group) => sum + blockBytes([group]) * group.deviceBlocks!, 0);
  const others = groups.filter((group) => group.deviceBlocks === undefined);
  const deviceBlocks = readPool('device', device, blockBytes(others), taken);
  const hostBlocks = host === undefined ? 0 : readPool('host', host, blockBytes(groups), 0);
  return groups.map((group) =>
    Object.freeze({
      ...group,
      planes: Object.freeze(group.planes),
      deviceBlocks: group.deviceBlocks ?? deviceBlocks,
      hostBlocks,
    }),
  );
}

/** Blocks of a pool. `blockBytes`: of one block in every group that shares it; `taken`: by others. */
function readPool(name: string, options: unknown, blockBytes: Bytes, taken: Bytes): number {
  const given = readOptions(name, options, ['blocks', 'bytes']);
  if ((given.blocks === undefined) === (given.bytes === undefined)) {
    throw new PagedKvError('INVALID_OPTION', `${name} needs either 'blocks' or 'bytes'`);
  }
  if (given.blocks !== undefined) {
    return readInteger(`${name}.blocks`, given.blocks, 1, native.maxBlocksPerPool);
  }
  const bytes = readInteger(`${name}.bytes`, given.bytes, 1, Number.MAX_SAFE_INTEGER);
  const blocks = Math.floor((bytes - taken) / blockBytes);
  if (blocks >= 1 && blocks <= native.maxBlocksPerPool) return blocks;
  throw new PagedKvError(
    'INVALID_OPTION',
    `${name}.bytes of ${bytes} is ${blocks} blocks of ${blockBytes} bytes; ` +
      `a pool has from 1 to ${native.maxBlocksPerPool}`,
  );
}

function readName(name: string, value: unknown): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new PagedKvError('INVALID_OPTION', `${name} must be a name, got ${show(value)}`);
}

/** A copy of the list, each element read once. */
function readList(name: string, value: unknown, max: number): unknown[] {
  if (!Array.isArray(value) || value.length < 1 || value.length > max) {
    throw new PagedKvError(
      'INVALID_OPTION',
      `${name} must be an array of 1 to ${max}, got ${show(value)}`,
    );
  }
  return Array.from(value as readonly unknown[]);
}

function refuseTwice(name: string, keys: readonly string[]): void {
  const seen = new Set<string>();
  for (const key of keys) {
    if (seen.has(key)) throw new PagedKvError('INVALID_OPTION', `${name} has '${key}' twice`);
    seen.add(key);
  }
}
