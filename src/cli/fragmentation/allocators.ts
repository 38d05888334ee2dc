/** Allocators of contiguous slots: what KV memory was given out by before it was paged. */

export interface Allocator {
  /** The first of so many slots in a row; undefined where there are none. */
  allocate(slots: number): number | undefined;
  /** Gives back what `allocate` gave for as many slots. */
  free(begin: number, slots: number): void;
}

/** Above 0. */
export function nextPowerOfTwo(value: number): number {
  let power = 1;
  while (power < value) power *= 2;
  return power;
}

/**
 * A binary buddy allocator (Knowlton, 1965): a request takes the next power of two, split off the smallest
 * free piece that is large enough, and at the lowest address among those; what is freed is merged with its
 * buddy while that is free. Memory that is no power of two begins as the powers that make it up, the largest
 * first. O(free pieces of one size).
 */
export class BuddyAllocator implements Allocator {
  /** By size: where the free pieces of that size begin. A piece begins at a multiple of its size. */
  readonly #free = new Map<number, Set<number>>();
  readonly #largest: number;

  constructor(slots: number) {
    let size = nextPowerOfTwo(slots + 1) / 2;
    this.#largest = size;
    for (let begin = 0; begin < slots; size /= 2) {
      if (begin + size > slots) continue;
      this.#piecesOf(size).add(begin);
      begin += size;
    }
  }

  allocate(slots: number): number | undefined {
    const size = nextPowerOfTwo(slots);
    let from = size;
    while (from <= this.#largest && this.#piecesOf(from).size === 0) from *= 2;
    if (from > this.#largest) return undefined;
    const begin = Math.min(...this.#piecesOf(from));
    this.#piecesOf(from).delete(begin);
    while (from > size) {
      from /= 2;
      this.#piecesOf(from).add(begin + from);
    }
    return begin;
  }

  free(begin: number, slots: number): void {
    let size = nextPowerOfTwo(slots);
    for (;;) {
      const isSecond = (begin / size) % 2 === 1;
      const buddy = isSecond ? begin - size : begin + size;
      if (!this.#piecesOf(size).delete(buddy)) break;
      if (isSecond) begin = buddy;
      size *= 2;
    }
    this.#piecesOf(size).add(begin);
  }

  /** Sizes of the free pieces, by address. For tests. */
  pieces(): readonly (readonly [begin: number, slots: number])[] {
    const all = [...this.#free].flatMap(([size, begins]) =>
      [...begins].map((begin) => [begin, size] as const),
    );
    return all.sort(([a], [b]) => a - b);
  }

  #piecesOf(size: number): Set<number> {
    let pieces = this.#free.get(size);
    if (pieces === undefined) this.#free.set(size, (pieces = new Set()));
    return pieces;
  }
}

interface Hole {
  begin: number;
  slots: number;
}

/** Takes exactly what is asked for, out of the first hole that is large enough. O(holes). */
export class FirstFitAllocator implements Allocator {
  /** By address; no two touch. */
  readonly #holes: Hole[];

  constructor(slots: number) {
    this.#holes = [{ begin: 0, slots }];
  }

  allocate(slots: number): number | undefined {
    const at = this.#holes.findIndex((hole) => hole.slots >= slots);
    const hole = this.#holes[at];
    if (hole === undefined) return undefined;
    const { begin } = hole;
    hole.begin += slots;
    hole.slots -= slots;
    if (hole.slots === 0) this.#holes.splice(at, 1);
    return begin;
  }

  free(begin: number, slots: number): void {
    const holes = this.#holes;
    const after = holes.findIndex((hole) => hole.begin > begin);
    const at = after === -1 ? holes.length : after;
    holes.splice(at, 0, { begin, slots });
    this.#mergeWithNext(at);
    this.#mergeWithNext(at - 1);
  }

  #mergeWithNext(at: number): void {
    const hole = this.#holes[at];
    const next = this.#holes[at + 1];
    if (hole === undefined || next === undefined || hole.begin + hole.slots < next.begin) return;
    hole.slots += next.slots;
    this.#holes.splice(at + 1, 1);
  }
}
