/** Where content lies now that steps which were not executed yet are still to move. */
import type { Tier } from '../src/device/host.js';
import type { Moves } from '../src/plan.js';

export interface Place {
  readonly tier: Tier;
  readonly block: number;
}

/** Sources by target. */
interface Sources {
  readonly offloads: ReadonlyMap<number, number>;
  readonly onboards: ReadonlyMap<number, number>;
  readonly copies: ReadonlyMap<number, number>;
}

/** `pending`: what is still to be executed, oldest first. */
export class Places {
  readonly #pending: readonly Sources[];

  constructor(pending: readonly Moves[]) {
    this.#pending = pending.map(({ offloads, onboards, copies }) => ({
      offloads: sources(offloads, 3),
      onboards: sources(onboards, 3),
      copies: sources(copies, 4),
    }));
  }

  /** Where the content is that this block of the device will have when all is executed. */
  now(block: number): Place {
    return this.#before(this.#pending.length, { tier: 'device', block });
  }

  /** Goes back through the first `steps` of what is pending. */
  #before(steps: number, place: Place): Place {
    if (steps === 0) return place;
    const moves = this.#pending[steps - 1]!;
    let { tier, block } = place;
    if (tier === 'device') {
      block = moves.copies.get(block) ?? block;
      const onboarded = moves.onboards.get(block);
      if (onboarded !== undefined) [tier, block] = ['host', onboarded];
    }
    if (tier === 'host') {
      const offloaded = moves.offloads.get(block);
      if (offloaded !== undefined) [tier, block] = ['device', offloaded];
    }
    return this.#before(steps - 1, { tier, block });
  }
}

function sources(records: Uint32Array, stride: number): Map<number, number> {
  const found = new Map<number, number>();
  for (let at = 0; at < records.length; at += stride) found.set(records[at + 2]!, records[at + 1]!);
  return found;
}
