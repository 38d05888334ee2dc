/** How many blocks each replay has, from shares of a trace's blocks or from numbers. */
import { native } from '../../native.js';
import { CliError } from '../errors.js';
import type { Trace } from './trace.js';

/** A share of the trace's distinct blocks in percent, or a number of blocks. */
export type SizeOption = { readonly percent: number } | { readonly blocks: number };

export interface Size {
  /** Of the trace's distinct blocks. */
  readonly percent: number;
  readonly blocks: number;
}

export const DEFAULT_PERCENTS = [1, 2, 5, 10, 25, 50] as const;

/** Slots are counted in 31 bits. */
const MAX_SLOTS = 2 ** 31 - 1;

/** Throws a `CliError` for less than one block, and for more than a pool can have. `option`: where it was given. */
export function toSize(trace: Trace, option: string, size: SizeOption): Size {
  if ('blocks' in size) {
    refuseTooMany(trace, option, size.blocks);
    return { percent: (100 * size.blocks) / trace.blocks, blocks: size.blocks };
  }
  const blocks = Math.floor((trace.blocks * size.percent) / 100);
  if (blocks === 0) {
    throw new CliError(
      `--${option}: ${size.percent}% of the ${trace.blocks} blocks of ${trace.name} is less than one: ` +
        `give at least ${Math.ceil(1e4 / trace.blocks) / 100}`,
    );
  }
  refuseTooMany(trace, option, blocks);
  return { percent: size.percent, blocks };
}

/** Of `DEFAULT_PERCENTS` those that are a block or more; all blocks where none is. */
export function defaultSizes(trace: Trace): readonly SizeOption[] {
  const percents = DEFAULT_PERCENTS.filter((percent) => trace.blocks * percent >= 100);
  return percents.length > 0 ? percents.map((percent) => ({ percent })) : [{ percent: 100 }];
}

function refuseTooMany({ blockSize }: Trace, option: string, blocks: number): void {
  const most = Math.min(native.maxBlocksPerPool, Math.floor(MAX_SLOTS / blockSize));
  if (blocks <= most) return;
  throw new CliError(
    `--${option}: a pool has at most ${most} blocks of ${blockSize} tokens, not ${blocks}`,
  );
}
