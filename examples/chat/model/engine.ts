/**
 * What a decoding loop needs of a model: one forward pass over query tokens laid end to end. Where keys
 * and values live is the memory's affair. Two kinds of memory exist on each device: paged, under the
 * manager, and contiguous, which knows no block table and is there to check the other.
 *
 * Both share every kernel but attention, and each row of a kernel is computed by itself, in a fixed
 * order: a token's numbers do not depend on what else was in its batch or on how a prompt was cut.
 */
import type { Attention, CacheDevice } from '../../../src/plan.js';

/** The query tokens of one pass. */
export interface Pass {
  /** `[tokens]`: ids. */
  readonly ids: Uint32Array;
  /** `[tokens]`: the place of each in its sequence. */
  readonly positions: Uint32Array;
  /** The query tokens whose logits are wanted, ascending. */
  readonly wanted: Uint32Array;
}

/** Logits, `[wanted, vocabulary]`; overwritten by the next pass. */
export type Logits = Float32Array;

/** The limits that an engine's buffers are made for. */
export interface EngineLimits {
  readonly passTokens: number;
  /** Sequences in one pass: at most this many rows of logits are wanted. */
  readonly passSequences: number;
  readonly sequenceTokens: number;
}

/** The model over the manager's memory. */
export interface PagedEngine {
  readonly cache: CacheDevice;
  forward(pass: Pass, attention: Attention): Promise<Logits>;
  /** Overwrites one slot of every layer with `value`, behind the manager's back. */
  overwriteSlot(slot: number, value: number): Promise<void>;
  destroy(): void;
}

/** The model over contiguous caches, one a lane; token `p` of a lane lies at `lane * laneTokens + p`. */
export interface ContiguousEngine {
  /** `lanes[i]`: the cache of query token `i`. */
  forward(pass: Pass, lanes: Uint32Array): Promise<Logits>;
  destroy(): void;
}
