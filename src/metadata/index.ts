/// <reference types="@webgpu/types" />
/**
 * What attention kernels of other projects read, written into arrays of the caller's from the tables of a step. Arrays
 * are made once, as long as the largest batch needs; how many sequences that is tells the shortest array with one
 * element a sequence.
 */
import type { HasLayout } from '../device/layout.js';
import { PagedKvError } from '../errors.js';
import type { CacheLayout } from '../plan.js';
import { readInteger, readOptions, show } from '../validate.js';
import { BlockList, BlockStarts, DenseBlockTable } from './block-tables.js';
import {
  Bounds,
  KeyOffsets,
  LastBlockLengths,
  PastLengths,
  QueryPositions,
  QueryStarts,
  Slots,
  TotalLengths,
  WideSlots,
  type Field,
} from './fields.js';
import { Metadata } from './metadata.js';

export type { HasLayout } from '../device/layout.js';
export type { Metadata } from './metadata.js';

export interface MetadataOptions {
  /** The cache group whose blocks they are. Default: the first. */
  readonly group?: string;
}

export interface DenseMetadataOptions extends MetadataOptions {
  /** What cells of the block table hold that belong to no block. */
  readonly pad?: number;
}

/** Of ONNX Runtime's `com.microsoft.PagedAttention`. */
export interface PagedAttentionArrays {
  /** `[batch, width]`; the width is its length over that of `pastSeqlens`. Pad: −1 by default. */
  readonly blockTable: Int32Array;
  /** `[batch + 1]`. */
  readonly cumulativeSequenceLength: Int32Array;
  /** `[batch]`. */
  readonly pastSeqlens: Int32Array;
  /** `[tokens]`; where the operator takes none, use the manager's option `alwaysWrites`. */
  readonly slotMapping?: Int32Array;
  /** `[2]`: the most query tokens of a sequence, and the most tokens: without it, the operator reads them back. */
  readonly attentionMetadata?: Int32Array;
}

/** Of vLLM's paged attention backends. */
export interface VllmArrays {
  /** `[batch, width]`; the width is its length over that of `seqLens`. Pad: 0 by default. */
  readonly blockTable: Int32Array;
  /** `[batch + 1]`. */
  readonly queryStartLoc: Int32Array;
  /** `[batch]`, with the tokens of this step. */
  readonly seqLens: Int32Array;
  /** `[tokens]`; −1 writes nothing. */
  readonly slotMapping: Int32Array | BigInt64Array;
}

/** Of FlashInfer's paged KV caches. */
export interface FlashInferArrays {
  /** `[batch + 1]`. */
  readonly qoIndptr: Int32Array;
  /** `[batch + 1]`. */
  readonly pagedKvIndptr: Int32Array;
  /** All blocks of the batch, end to end. */
  readonly pagedKvIndices: Int32Array;
  /** `[batch]`: from 1 to the block size. */
  readonly pagedKvLastPageLen: Int32Array;
  /** `[tokens]`; −1 writes nothing. */
  readonly slotMapping?: Int32Array;
}

/** Of the paged KV caches that TVM compiles for. */
export interface TvmArrays {
  /** `[batch + 1]`. */
  readonly qoIndptr: Int32Array;
  /** `[batch + 1]`. */
  readonly pageIndptr: Int32Array;
  /** All blocks of the batch, end to end. */
  readonly pageValues: Int32Array;
  /** `[batch]`: tokens in the last block. */
  readonly lengthInfo: Int32Array;
  /** `[batch]`: the position of the first key. */
  readonly kRopePosOffset: Int32Array;
  /** `[tokens]`: the position of each query. */
  readonly qRopePositionMap: Int32Array;
  /** `[tokens]`: the slot that each token is appended to; −1 drops it. */
  readonly appendPositionMap: Int32Array;
}

/** Refuses arrays of the wrong kind with `INVALID_OPTION`, and names that are none with `UNKNOWN_OPTION`. */
export function pagedAttentionMetadata(
  kv: HasLayout,
  arrays: PagedAttentionArrays,
  options?: DenseMetadataOptions,
): Metadata<keyof PagedAttentionArrays> {
  const { layout } = kv;
  const given = readArrays(
    arrays,
    ['blockTable', 'cumulativeSequenceLength', 'pastSeqlens'],
    ['slotMapping', 'attentionMetadata'],
  );
  const { group, pad } = readDense(layout, options, -1);
  const places = placesOf(given.pastSeqlens, given.cumulativeSequenceLength);
  const width = widthOf(given.blockTable, given.pastSeqlens);
  return new Metadata(layout, places, width, [
    ['blockTable', new DenseBlockTable(given.blockTable, width, pad, group, layout)],
    ['cumulativeSequenceLength', new QueryStarts(given.cumulativeSequenceLength)],
    ['pastSeqlens', new PastLengths(given.pastSeqlens)],
    ...optionalSlots(given.slotMapping, group),
    ...optionalBounds(given.attentionMetadata),
  ]);
}

/** As `pagedAttentionMetadata`. */
export function vllmMetadata(
  kv: HasLayout,
  arrays: VllmArrays,
  options?: DenseMetadataOptions,
): Metadata<keyof VllmArrays> {
  const { layout } = kv;
  const { slotMapping, ...rest } = arrays;
  const given = readArrays(rest, ['blockTable', 'queryStartLoc', 'seqLens'], []);
  const { group, pad } = readDense(layout, options, 0);
  const places = placesOf(given.seqLens, given.queryStartLoc);
  const width = widthOf(given.blockTable, given.seqLens);
  return new Metadata(layout, places, width, [
    ['blockTable', new DenseBlockTable(given.blockTable, width, pad, group, layout)],
    ['queryStartLoc', new QueryStarts(given.queryStartLoc)],
    ['seqLens', new TotalLengths(given.seqLens)],
    ['slotMapping', eitherSlots(slotMapping, group)],
  ]);
}

/** As `pagedAttentionMetadata`. */
export function flashInferMetadata(
  kv: HasLayout,
  arrays: FlashInferArrays,
  options?: MetadataOptions,
): Metadata<keyof FlashInferArrays> {
  const { layout } = kv;
  const names = ['qoIndptr', 'pagedKvIndptr', 'pagedKvIndices', 'pagedKvLastPageLen'] as const;
  const given = readArrays(arrays, names, ['slotMapping']);
  const group = readGroup(layout, readOptions('the metadata', options ?? {}, ['group']).group);
  const places = placesOf(given.pagedKvLastPageLen, given.qoIndptr, given.pagedKvIndptr);
  return new Metadata(layout, places, layout.maxBlocksPerSequence, [
    ['qoIndptr', new QueryStarts(given.qoIndptr)],
    ['pagedKvIndptr', new BlockStarts(given.pagedKvIndptr)],
    ['pagedKvIndices', new BlockList(given.pagedKvIndices, places, group, layout)],
    ['pagedKvLastPageLen', new LastBlockLengths(given.pagedKvLastPageLen, layout.blockSize)],
    ...optionalSlots(given.slotMapping, group),
  ]);
}

/** As `pagedAttentionMetadata`. */
export function tvmMetadata(
  kv: HasLayout,
  arrays: TvmArrays,
  options?: MetadataOptions,
): Metadata<keyof TvmArrays> {
  const { layout } = kv;
  const lists = ['qoIndptr', 'pageIndptr', 'pageValues', 'lengthInfo'] as const;
  const positions = ['kRopePosOffset', 'qRopePositionMap', 'appendPositionMap'] as const;
  const given = readArrays(arrays, [...lists, ...positions], []);
  const group = readGroup(layout, readOptions('the metadata', options ?? {}, ['group']).group);
  const { qoIndptr, pageIndptr, lengthInfo, kRopePosOffset } = given;
  const places = Math.min(placesOf(lengthInfo, qoIndptr, pageIndptr), kRopePosOffset.length);
  return new Metadata(layout, places, layout.maxBlocksPerSequence, [
    ['qoIndptr', new QueryStarts(qoIndptr)],
    ['pageIndptr', new BlockStarts(pageIndptr)],
    ['pageValues', new BlockList(given.pageValues, places, group, layout)],
    ['lengthInfo', new LastBlockLengths(lengthInfo, layout.blockSize)],
    ['kRopePosOffset', new KeyOffsets(kRopePosOffset)],
    ['qRopePositionMap', new QueryPositions(given.qRopePositionMap)],
    ['appendPositionMap', new Slots(given.appendPositionMap, group)],
  ]);
}

type Arrays<Needed extends string, Optional extends string> = Readonly<
  Record<Needed, Int32Array> & Partial<Record<Optional, Int32Array>>
>;

function readArrays<Needed extends string, Optional extends string>(
  arrays: unknown,
  needed: readonly Needed[],
  optional: readonly Optional[],
): Arrays<Needed, Optional> {
  const given = readOptions('the arrays', arrays, [...needed, ...optional]);
  for (const name of needed) checkArray(name, given[name]);
  for (const name of optional) if (given[name] !== undefined) checkArray(name, given[name]);
  return given as Arrays<Needed, Optional>;
}

function checkArray(name: string, value: unknown): asserts value is Int32Array {
  if (value instanceof Int32Array && value.length > 0) return;
  throw new PagedKvError('INVALID_OPTION', `${name} must be an Int32Array, got ${show(value)}`);
}

/** Sequences for which all of these have room: one element each, and one more of `starts`. */
function placesOf(lengths: Int32Array, ...starts: readonly Int32Array[]): number {
  const places = Math.min(lengths.length, ...starts.map((array) => array.length - 1));
  if (places > 0) return places;
  throw new PagedKvError('INVALID_OPTION', 'the arrays have no room for one sequence');
}

/** Cells of a row of the block table. */
function widthOf(table: Int32Array, lengths: Int32Array): number {
  const width = Math.floor(table.length / lengths.length);
  if (width > 0) return width;
  throw new PagedKvError('INVALID_OPTION', 'blockTable must have a row for each sequence');
}

function readDense(layout: CacheLayout, options: unknown, pad: number) {
  const given = readOptions('the metadata', options ?? {}, ['group', 'pad']);
  return {
    group: readGroup(layout, given.group),
    pad: readInteger('pad', given.pad, -(2 ** 31), 2 ** 31 - 1, pad),
  };
}

function readGroup({ groups }: CacheLayout, name: unknown): number {
  if (name === undefined) return 0;
  const group = groups.findIndex((each) => each.name === name);
  if (group >= 0) return group;
  const names = groups.map((each) => `'${each.name}'`).join(', ');
  throw new PagedKvError('INVALID_OPTION', `group must be one of ${names}, got ${show(name)}`);
}

function optionalSlots(
  array: Int32Array | undefined,
  group: number,
): readonly (readonly ['slotMapping', Field])[] {
  return array === undefined ? [] : [['slotMapping', new Slots(array, group)]];
}

function optionalBounds(
  array: Int32Array | undefined,
): readonly (readonly ['attentionMetadata', Field])[] {
  return array === undefined ? [] : [['attentionMetadata', new Bounds(array)]];
}

function eitherSlots(array: unknown, group: number): Field {
  if (array instanceof BigInt64Array) return new WideSlots(array, group);
  checkArray('slotMapping', array);
  return new Slots(array, group);
}
