/** Host memory that native code reserves and moves blocks in: huge pages where the system gives them, zeroed. */
import { check, PagedKvError, Status, statusError } from '../errors.js';
import { native } from '../native.js';
import { toMiB } from '../words.js';

export class NativeMemory {
  /** In the native code. */
  readonly id: number;
  readonly byteLength: number;
  #touched: Promise<void> | undefined;
  #closed = false;

  /**
   * Throws `OUT_OF_MEMORY`, before anything is allocated, where the machine or a control group of the process
   * has less to give. `what` it is for is said in the message.
   */
  constructor(byteLength: number, what: string) {
    const out = new Float64Array(1);
    const status = native.createMemory(byteLength, out);
    if (status === Status.outOfMemory) throw tooLarge(what, byteLength, out[0]!);
    check(status);
    this.id = out[0]!;
    this.byteLength = byteLength;
    collected.register(this, this.id, this);
  }

  /**
   * The memory itself, `bytes` from `offset` on, as an array that keeps it; each range once. Counted as external
   * memory by the engine.
   */
  view(offset: number, bytes: number): Uint8Array<ArrayBuffer> {
    const buffer = native.viewMemory(this.id, offset, bytes);
    if (typeof buffer === 'number') throw statusError(buffer);
    return new Uint8Array(buffer);
  }

  /**
   * Touches every page on a thread of its own, once: the first touch of memory costs far more than copying over
   * it later. No byte changes, so the memory may be used meanwhile. Resolves when it is done, or the memory was
   * closed; rejects with `OUT_OF_MEMORY` where the machine runs out.
   */
  touch(): Promise<void> {
    return (this.#touched ??= this.#touch());
  }

  /** Waits for what is moved, and gives the pages back at once. What is left of views reads zeros. */
  close(): void {
    this.#closed = true;
    collected.unregister(this);
    native.closeMemory(this.id);
  }

  async #touch(): Promise<void> {
    const status = await native.touchMemory(this.id);
    if (!this.#closed) check(status);
  }
}

/** Views keep the bytes; the pages of memory that nobody can ask for any more go with the last of them. */
const collected = new FinalizationRegistry<number>((id) => {
  native.forgetMemory(id);
});

function tooLarge(what: string, wanted: number, available: number): PagedKvError {
  return new PagedKvError(
    'OUT_OF_MEMORY',
    `${what} needs ${toMiB(wanted)} MiB, and ${toMiB(available)} MiB are available: give fewer blocks`,
  );
}
