/** Arithmetic over a `CacheLayout`: sizes, offsets and lookups that every device needs. Bytes unless named otherwise. */
import { PagedKvError } from '../errors.js';
import type { CacheLayout, GroupLayout, ModelShape, Plane } from '../plan.js';
import { show } from '../validate.js';

/** What a device is made for: a manager, or anything else that has a layout. */
export interface HasLayout {
  readonly layout: CacheLayout;
}

/** Where blocks live. */
export type Tier = 'device' | 'host';

/** A plane by its position: the group in the layout, the plane in the group. */
export interface PlaneAddress {
  readonly group: number;
  readonly plane: number;
}

export function groupAt(layout: CacheLayout, group: number): GroupLayout {
  const found = layout.groups[group];
  if (found === undefined) {
    throw new PagedKvError('OUT_OF_RANGE', `group ${group} of ${layout.groups.length}`);
  }
  return found;
}

export function planeAt(layout: CacheLayout, group: number, plane: number): Plane {
  const { name, planes } = groupAt(layout, group);
  const found = planes[plane];
  if (found === undefined) {
    throw new PagedKvError('OUT_OF_RANGE', `plane ${plane} of ${planes.length} in group '${name}'`);
  }
  return found;
}

/** The plane of a layer by name; throws `UNKNOWN_PLANE` where there is none. O(planes). */
export function findPlane(layout: CacheLayout, layer: number, name: string): PlaneAddress {
  for (const [group, { planes }] of layout.groups.entries()) {
    const plane = planes.findIndex((each) => each.name === name && isReadBy(each, layer));
    if (plane >= 0) return { group, plane };
  }
  throw new PagedKvError('UNKNOWN_PLANE', `layer ${layer} has no '${name}' plane`);
}

function isReadBy(plane: Plane, layer: number): boolean {
  return plane.layer === layer || (plane.sharedBy?.includes(layer) ?? false);
}

/** The model's shape; throws `NO_MODEL` where the manager was made from bare groups. */
export function modelOf(layout: CacheLayout): ModelShape {
  if (layout.model === undefined) {
    throw new PagedKvError(
      'NO_MODEL',
      'the layout has groups but no model, so the element type of its planes is unknown',
    );
  }
  return layout.model;
}

/** Throws `INVALID_ARGUMENT` unless it is a tier. */
export function checkTier(tier: unknown): asserts tier is Tier {
  if (tier === 'device' || tier === 'host') return;
  throw new PagedKvError('INVALID_ARGUMENT', `a tier is 'device' or 'host', got ${show(tier)}`);
}

export function blocksIn(group: GroupLayout, tier: Tier): number {
  checkTier(tier);
  return tier === 'device' ? group.deviceBlocks : group.hostBlocks;
}

/** Throws `OUT_OF_RANGE` unless `block` is a block of the tier. */
export function checkBlock(group: GroupLayout, tier: Tier, block: number): void {
  const blocks = blocksIn(group, tier);
  if (Number.isInteger(block) && block >= 0 && block < blocks) return;
  throw new PagedKvError(
    'OUT_OF_RANGE',
    `block ${block} of the ${blocks} that group '${group.name}' has in the ${tier} tier`,
  );
}

/** Bytes of one block in one plane. */
export function planeBlockBytes(layout: CacheLayout, plane: Plane): number {
  return layout.blockSize * plane.bytesPerToken;
}

/** Bytes of one block over all planes of its group. */
export function blockBytes(layout: CacheLayout, group: GroupLayout): number {
  return group.planes.reduce((sum, plane) => sum + planeBlockBytes(layout, plane), 0);
}
