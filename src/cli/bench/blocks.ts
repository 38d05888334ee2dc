/** Layouts and lists of moves to measure with. */
import type { HasLayout } from '../../device/layout.js';
import type { Executable, GroupLayout, Moves } from '../../plan.js';

export interface BlocksSetup {
  readonly layers: number;
  /** Keys and values, or one latent plane. */
  readonly planesPerLayer: 1 | 2;
  /** In each plane. */
  readonly bytesPerToken: number;
  readonly blockSize: number;
  /** In each tier. */
  readonly blocks: number;
}

/** Without a manager. */
export function layoutOf(setup: BlocksSetup): HasLayout {
  const { layers, planesPerLayer, bytesPerToken, blockSize, blocks } = setup;
  const names = planesPerLayer === 1 ? ['latent'] : ['key', 'value'];
  const planes = Array.from({ length: layers }, (_, layer) =>
    names.map((name) => ({ layer, name, bytesPerToken })),
  ).flat();
  const pools = { deviceBlocks: blocks, hostBlocks: blocks };
  const group: GroupLayout = { name: 'all', kind: 'full', planes, ...pools };
  const limits = { maxSequences: 1, maxBlocksPerSequence: 1 };
  return { layout: { blockSize, ...limits, model: undefined, groups: [group] } };
}

/** `count` even numbers from 0, in an order that only looks random: no two blocks are neighbours. */
export function scattered(count: number, seed: number): number[] {
  const all = Array.from({ length: count }, (_, i) => 2 * i);
  let state = seed;
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = state % (i + 1);
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all;
}

/** Records of group 0. */
export function movesOf(sources: readonly number[], targets: readonly number[]): Uint32Array {
  return Uint32Array.from(sources.flatMap((source, i) => [0, source, targets[i]!]));
}

/** A transfer that nobody planned. */
export function workOf(moves: Partial<Moves>): Executable {
  const none = new Uint32Array();
  return {
    moves: { offloads: none, onboards: none, copies: none, ...moves },
    beginExecute: () => undefined,
    endExecute: () => undefined,
  };
}
