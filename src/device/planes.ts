/** The device tier of a cache in host memory: each plane an array of blocks of its own, in one native memory. */
import type { BlockShape } from '../native.js';
import type { CacheLayout } from '../plan.js';
import type { HostArena } from './arena.js';
import { planeBlockBytes } from './layout.js';
import { NativeMemory } from './memory.js';

/** Planes begin at lines of the processor's cache. */
const ALIGNMENT = 64;

export class PlaneMemory {
  readonly memory: NativeMemory;
  /** By group, then plane: the memory itself, each with a buffer of its own. */
  readonly planes: readonly (readonly Uint8Array<ArrayBuffer>[])[];
  /** By group, then plane. Bytes. */
  readonly #offsets: readonly (readonly number[])[];
  readonly #layout: CacheLayout;

  /** Zeroed. Throws `OUT_OF_MEMORY`, before it allocates, where the machine has no room for it. */
  constructor(layout: CacheLayout) {
    this.#layout = layout;
    let end = 0;
    this.#offsets = layout.groups.map((group) =>
      group.planes.map((plane) => {
        const begin = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
        end = begin + group.deviceBlocks * planeBlockBytes(layout, plane);
        return begin;
      }),
    );
    this.memory = new NativeMemory(end, 'the device tier');
    this.planes = layout.groups.map((group, g) =>
      group.planes.map((plane, p) =>
        this.memory.view(
          this.#offsets[g]![p]!,
          group.deviceBlocks * planeBlockBytes(layout, plane),
        ),
      ),
    );
  }

  /** How the blocks of a group lie here and in an arena. */
  shape(group: number, arena: HostArena): BlockShape {
    const { planes, deviceBlocks } = this.#layout.groups[group]!;
    const parts = planes.map((plane, p) => ({
      near: this.#offsets[group]![p]!,
      bytes: planeBlockBytes(this.#layout, plane),
      plane: p,
    }));
    return arena.shape(group, deviceBlocks, parts);
  }
}
