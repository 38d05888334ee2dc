/**
 * Which planes move together. A record holds a block's planes end to end, so planes of neighbouring layers
 * are a range of it: a long onboard moves the first layers of all blocks before the next ones, and attention
 * on a layer waits for no more than it reads.
 */
import type { CacheLayout } from '../plan.js';
import { groupAt } from './layout.js';
import type { RecordLayout } from './quantized.js';

/** Neighbouring planes of a group, from `first` to `end`, and where they lie in a record. Bytes. */
export interface PlaneSpan {
  readonly first: number;
  readonly end: number;
  readonly offset: number;
  readonly bytes: number;
}

/** By group. */
export type Stage = readonly PlaneSpan[];

export class Stages {
  /** All planes at once. */
  readonly whole: Stage;
  readonly #layout: CacheLayout;
  readonly #records: readonly RecordLayout[];
  /** Ascending. */
  readonly #layers: readonly number[];
  readonly #most: number;
  /** By layer that has no planes: the one whose planes it reads. */
  readonly #owners = new Map<number, number>();

  /** `records`: by group, how a block's planes lie end to end. */
  constructor(layout: CacheLayout, records: readonly RecordLayout[]) {
    this.#layout = layout;
    this.#records = records;
    const all = layout.groups.flatMap(({ planes }) => planes.map(({ layer }) => layer));
    for (const { layer, sharedBy = [] } of layout.groups.flatMap(({ planes }) => planes)) {
      for (const other of sharedBy) this.#owners.set(other, layer);
    }
    this.#layers = [...new Set(all)].sort((a, b) => a - b);
    const isOrdered = layout.groups.every(({ planes }) =>
      planes.every(({ layer }, p) => p === 0 || planes[p - 1]!.layer <= layer),
    );
    this.#most = isOrdered ? this.#layers.length : 1;
    this.whole = this.#stage(0, 1);
  }

  /** As many stages as `wanted`, or as there can be: one where a group's planes are not in the order of their layers. */
  split(wanted: number): readonly Stage[] {
    const count = Math.max(1, Math.min(this.#most, wanted));
    if (count === 1) return [this.whole];
    return Array.from({ length: count }, (_, i) => this.#stage(i, count));
  }

  /** In which of `count` stages a layer moves; −1 where there is no such layer. */
  indexOf(layer: number, count: number): number {
    const at = this.#layers.indexOf(this.#owners.get(layer) ?? layer);
    return at < 0 ? -1 : Math.floor((at * count) / this.#layers.length);
  }

  #stage(index: number, count: number): Stage {
    return this.#layout.groups.map((_, g) => this.#span(g, index, count));
  }

  #span(group: number, index: number, count: number): PlaneSpan {
    const span = { first: 0, end: 0, offset: 0, bytes: 0 };
    for (const [p, { layer }] of groupAt(this.#layout, group).planes.entries()) {
      const { bytes } = this.#records[group]!.planes[p]!;
      const stage = count === 1 ? 0 : this.indexOf(layer, count);
      if (stage > index) break;
      if (stage < index) {
        span.first += 1;
        span.offset += bytes;
      } else {
        span.bytes += bytes;
      }
      span.end += 1;
    }
    return span;
  }
}
