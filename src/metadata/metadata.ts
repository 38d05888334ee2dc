/** The metadata of one contract: arrays of the caller's that follow the steps, and buffers that follow the arrays. */
import type { Attention, CacheLayout } from '../plan.js';
import type { Field } from './fields.js';
import { FollowedRows } from './followed-rows.js';

export class Metadata<Name extends string> {
  readonly #fields: readonly (readonly [Name, Field])[];
  readonly #rows: FollowedRows;
  readonly #mostBlocks: number;

  /** For contracts of this package: see `pagedAttentionMetadata` and the others. */
  constructor(
    layout: CacheLayout,
    places: number,
    mostBlocks: number,
    fields: readonly (readonly [Name, Field])[],
  ) {
    this.#fields = fields;
    this.#rows = new FollowedRows(layout, places);
    this.#mostBlocks = mostBlocks;
  }

  /**
   * Writes what a step that was just scheduled needs into the arrays, and of the block tables only what changed since
   * the step that was given last. To call before a later step is scheduled. Allocates nothing. Throws
   * `METADATA_TOO_SMALL`, and has then written nothing. O(batch + tokens + changed cells); blocks end to end
   * move when one before them gets more.
   */
  update(attention: Attention): void {
    for (const [, field] of this.#fields) field.check(attention);
    this.#rows.follow(attention, this.#mostBlocks);
    for (const [, field] of this.#fields) field.write(attention, this.#rows);
  }

  /**
   * Calls `visit` with what was written since it was taken or uploaded last: elements of an array, from `begin` to
   * `end`. For buffers that are no GPU buffers of WebGPU. O(what was written).
   */
  takeChanges(visit: (name: Name, begin: number, end: number) => void): void {
    for (const [name, { changed }] of this.#fields) {
      changed.take((begin, end) => {
        visit(name, begin, end);
      });
    }
  }

  /**
   * Queues what was written since the last upload, for buffers laid out as the arrays are, each at least as long; arrays
   * without a buffer are left out. Returns the bytes. O(what was written).
   */
  upload(queue: GPUQueue, buffers: Readonly<Partial<Record<Name, GPUBuffer>>>): number {
    let bytes = 0;
    for (const [name, { array, changed }] of this.#fields) {
      const buffer = buffers[name];
      if (buffer !== undefined) bytes += changed.upload(queue, buffer, array);
    }
    return bytes;
  }
}
