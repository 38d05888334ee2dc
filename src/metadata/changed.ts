/**
 * Which elements of an array were written since it was uploaded last. Ranges that lie close together are one, as
 * each upload costs more than some elements; what does not fit the list widens its last range.
 */
const MERGE_GAP = 512;

export class ChangedRanges {
  /** Begin and end of each. */
  readonly #ends: Uint32Array;
  #count = 0;

  constructor(mostRanges: number) {
    this.#ends = new Uint32Array(2 * mostRanges);
  }

  /** Cheapest in ascending order. */
  add(begin: number, end: number): void {
    if (begin >= end) return;
    const last = 2 * this.#count - 2;
    if (last >= 0 && (this.#isNear(begin, end, last) || 2 * this.#count === this.#ends.length)) {
      this.#ends[last] = Math.min(this.#ends[last]!, begin);
      this.#ends[last + 1] = Math.max(this.#ends[last + 1]!, end);
      return;
    }
    this.#ends[last + 2] = begin;
    this.#ends[last + 3] = end;
    this.#count += 1;
  }

  #isNear(begin: number, end: number, last: number): boolean {
    return begin <= this.#ends[last + 1]! + MERGE_GAP && end + MERGE_GAP >= this.#ends[last]!;
  }

  /** Calls `visit` with each, and forgets them. */
  take(visit: (begin: number, end: number) => void): void {
    for (let at = 0; at < 2 * this.#count; at += 2) visit(this.#ends[at]!, this.#ends[at + 1]!);
    this.#count = 0;
  }

  /** Queues them for a buffer that has the whole array, and forgets them. Returns the bytes. */
  upload(queue: GPUQueue, buffer: GPUBuffer, array: Int32Array): number {
    let elements = 0;
    for (let at = 0; at < 2 * this.#count; at += 2) {
      const begin = this.#ends[at]!;
      const length = this.#ends[at + 1]! - begin;
      queue.writeBuffer(buffer, begin * array.BYTES_PER_ELEMENT, array, begin, length);
      elements += length;
    }
    this.#count = 0;
    return elements * array.BYTES_PER_ELEMENT;
  }
}
