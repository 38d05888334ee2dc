/** Transfers held where a test wants them, and what has settled by then. */
import type { TransferPiece } from '../src/device/webgpu.js';
import type { Attention } from '../src/plan.js';

/** Holds pieces of transfers until they are let go, by name of their direction. */
export class Gate {
  readonly held: { readonly piece: TransferPiece; readonly go: (error?: Error) => void }[] = [];

  readonly intercept = (piece: TransferPiece): Promise<void> =>
    new Promise((resolve, reject) => {
      this.held.push({
        piece,
        go: (error) => {
          if (error === undefined) resolve();
          else reject(error);
        },
      });
    });

  /** Waits until so many pieces are held. */
  async holds(count: number): Promise<void> {
    while (this.held.length < count) await turn();
  }

  open(error?: Error): void {
    for (const { go } of this.held.splice(0)) go(error);
  }

  /** Stands open until the promise settles. */
  async openUntil(promise: Promise<void>): Promise<void> {
    const opening = setInterval(() => {
      this.open();
    });
    await promise.finally(() => {
      clearInterval(opening);
    });
  }
}

export function turn(): Promise<void> {
  return new Promise((resume) => setTimeout(resume, 0));
}

/** What has settled by now, some turns of the event loop later. */
export async function stateOf(
  promise: Promise<void>,
): Promise<'pending' | 'resolved' | 'rejected'> {
  let state: 'pending' | 'resolved' | 'rejected' = 'pending';
  promise.then(
    () => (state = 'resolved'),
    () => (state = 'rejected'),
  );
  for (let i = 0; i < 5; i++) await turn();
  return state;
}

/** A step of one token of row 0, whose first cell became `block`; a prefetch where there is no token. */
export function attentionOf(
  layout: { groups: readonly unknown[] },
  tokens: number,
  block = 0,
): Attention {
  const blockTable = new Int32Array(8 * 16);
  blockTable[0] = block;
  return {
    batch: 1,
    tokens,
    rows: new Uint32Array(8),
    pastLengths: new Int32Array(8),
    cumulativeLengths: Int32Array.of(0, tokens),
    skipped: new Uint32Array(8),
    serial: 1,
    rowSerials: new Uint32Array(8),
    groups: layout.groups.map(() => ({
      blockTable,
      tableUpdates: Uint32Array.from([0, 0, 1]),
      slotMapping: new Int32Array(8),
    })),
  };
}
