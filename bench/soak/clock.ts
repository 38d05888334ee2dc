/**
 * Time that passes when nothing is left to do in it. What waits for a moment is woken one at a time, and all that
 * follows from it has happened before the next: so a run depends on its seed alone.
 */
interface Alarm {
  readonly at_ms: number;
  /** Of those at the same moment, who asked first comes first. */
  readonly number: number;
  readonly ring: () => void;
}

export class VirtualClock {
  now_ms = 0;
  readonly #settle: () => Promise<void>;
  /** A heap: each comes before the two at twice its place. */
  readonly #alarms: Alarm[] = [];
  #asked = 0;

  /** `settle`: waits until all that was begun in real time has ended. */
  constructor(settle: () => Promise<void>) {
    this.#settle = settle;
  }

  after(milliseconds: number, ring: () => void): void {
    this.#put({ at_ms: this.now_ms + milliseconds, number: this.#asked++, ring });
  }

  sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(milliseconds, resolve);
    });
  }

  /** Lets time pass until the work has ended. Rejects where it waits for nothing that is to come. */
  async run<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    work.then(over, over);
    for (;;) {
      await this.#settle();
      if (isOver as boolean) return work;
      const next = this.#take();
      if (next === undefined) throw new Error('everybody waits, and nothing is to come');
      this.now_ms = next.at_ms;
      next.ring();
    }
  }

  #put(alarm: Alarm): void {
    const heap = this.#alarms;
    let place = heap.length;
    while (place > 0) {
      const above = (place - 1) >> 1;
      if (isFirst(heap[above]!, alarm)) break;
      heap[place] = heap[above]!;
      place = above;
    }
    heap[place] = alarm;
  }

  #take(): Alarm | undefined {
    const heap = this.#alarms;
    const [first] = heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let place = 0;
    for (;;) {
      let below = 2 * place + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && isFirst(heap[below + 1]!, heap[below]!)) below += 1;
      if (isFirst(last, heap[below]!)) break;
      heap[place] = heap[below]!;
      place = below;
    }
    heap[place] = last;
    return first;
  }
}

function isFirst(a: Alarm, b: Alarm): boolean {
  return a.at_ms < b.at_ms || (a.at_ms === b.at_ms && a.number < b.number);
}
