/** Pool sizes for a run in which memory is short: fewer blocks than the chats want, more than one needs. */
import { longestCase, type PromptSet } from './prompts.js';
import type { Options } from './options.js';

export interface PoolSizes {
  readonly deviceBlocks: number;
  readonly hostBlocks: number;
  /** Blocks that all chats in their last turn would hold side by side, shared ones counted once. */
  readonly wantedBlocks: number;
  /** Tokens of the longest sequence. */
  readonly longestTokens: number;
}

/** Share of the wanted blocks that the device gets, and of the device's that the host tier gets. */
const deviceShare = 0.3;
const hostShare = 0.5;

export function choosePool(prompts: PromptSet, options: Options): PoolSizes {
  const { blockSize, newTokens, samples } = options;
  const sharedBlocks = Math.floor(prompts.system.length / blockSize);
  const longest = prompts.conversations.map((chat) => longestCase(prompts.system, chat, newTokens));
  const ownBlocks = longest.map((tokens) => {
    // Every sample has its own end, and while the last block is copied there is one more.
    return (
      Math.ceil(tokens / blockSize) -
      sharedBlocks +
      (samples - 1) * (Math.ceil(newTokens / blockSize) + 1)
    );
  });
  const wantedBlocks = sharedBlocks + ownBlocks.reduce((sum, blocks) => sum + blocks, 0);
  const largest = sharedBlocks + Math.max(...ownBlocks) + 2;
  const deviceBlocks =
    options.deviceBlocks ?? Math.max(largest, Math.ceil(deviceShare * wantedBlocks));
  return {
    deviceBlocks,
    hostBlocks: options.hostBlocks ?? Math.ceil(hostShare * deviceBlocks),
    wantedBlocks,
    longestTokens: Math.max(...longest),
  };
}
