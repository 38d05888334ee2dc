/**
 * The ids of a trace's blocks. An equal id means an equal block after an equal prefix, so ids form a tree.
 * Here they are numbered from 1, in the order of their first appearance; 0 is what every chain begins from.
 */

/** Ids below are looked up in an array, the others in a map. */
const NEAR_IDS = 2 ** 24;

export class IdTree {
  /** Distinct ids so far. */
  count = 0;
  #near: Uint32Array = new Uint32Array(1024);
  readonly #far = new Map<number, number>();
  /** By number. */
  #parents: Uint32Array = new Uint32Array(1024);

  /** The number of an id that follows the block of number `parent`; 0 where it was seen elsewhere before. O(1). */
  place(id: number, parent: number): number {
    const number = this.#numberOf(id);
    if (number === 0) return this.#add(id, parent);
    return this.#parents[number] === parent ? number : 0;
  }

  /** The id that a known id followed when it was first seen; undefined for a chain's first. O(ids). */
  parentOf(id: number): number | undefined {
    const parent = this.#parents[this.#numberOf(id)]!;
    if (parent === 0) return undefined;
    const near = this.#near.indexOf(parent);
    if (near !== -1) return near;
    for (const [far, number] of this.#far) if (number === parent) return far;
    return undefined;
  }

  #numberOf(id: number): number {
    return (id < NEAR_IDS ? this.#near[id] : this.#far.get(id)) ?? 0;
  }

  #add(id: number, parent: number): number {
    const number = ++this.count;
    if (id < NEAR_IDS) {
      this.#near = grown(this.#near, id + 1);
      this.#near[id] = number;
    } else {
      this.#far.set(id, number);
    }
    this.#parents = grown(this.#parents, number + 1);
    this.#parents[number] = parent;
    return number;
  }
}

function grown(array: Uint32Array, length: number): Uint32Array {
  if (length <= array.length) return array;
  const larger = new Uint32Array(Math.max(length, 2 * array.length));
  larger.set(array);
  return larger;
}
