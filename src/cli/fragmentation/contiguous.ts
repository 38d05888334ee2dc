/** Requests that each reserve contiguous slots at their start: the schemes that paging is held against. */
import { BuddyAllocator, FirstFitAllocator, nextPowerOfTwo, type Allocator } from './allocators.js';
import { firstPassTokens, totalTokens, type Lengths } from './lengths.js';
import { Tally, type Shares } from './tally.js';

export interface ContiguousScheme {
  readonly name: 'max' | 'pow2-buddy' | 'exact-buddy' | 'exact-first-fit';
  readonly newAllocator: (slots: number) => Allocator;
  /** Slots that a request asks the allocator for. */
  readonly reserve: (request: Lengths, maxLength: number) => number;
}

/** The first three are "Orca (Max)", "(Pow2)" and "(Oracle)" of the PagedAttention paper (SOSP 2023). */
export const CONTIGUOUS_SCHEMES: readonly ContiguousScheme[] = [
  {
    name: 'max',
    newAllocator: (slots) => new FirstFitAllocator(slots),
    reserve: (_, maxLength) => maxLength,
  },
  {
    name: 'pow2-buddy',
    newAllocator: (slots) => new BuddyAllocator(slots),
    // The length of the output is guessed, at most twice too long; that of the prompt is known.
    reserve: ({ inputTokens, outputTokens }, maxLength) =>
      Math.min(maxLength, inputTokens + (outputTokens > 0 ? nextPowerOfTwo(outputTokens) : 0)),
  },
  {
    name: 'exact-buddy',
    newAllocator: (slots) => new BuddyAllocator(slots),
    reserve: totalTokens,
  },
  {
    name: 'exact-first-fit',
    newAllocator: (slots) => new FirstFitAllocator(slots),
    reserve: totalTokens,
  },
];

export interface ContiguousResult {
  readonly shares: Shares;
  /** Requests that do not even fit into empty memory, because the allocator rounds them up. */
  readonly refused: number;
}

interface Reservation {
  readonly begin: number;
  readonly slots: number;
  readonly total: number;
  held: number;
}

/** `onPass` is told how many requests have begun. */
export function simulateContiguous(
  scheme: ContiguousScheme,
  requests: readonly Lengths[],
  slots: number,
  maxLength: number,
  onPass: (begun: number) => void,
): ContiguousResult {
  const allocator = scheme.newAllocator(slots);
  const tally = new Tally(slots);
  let running: Reservation[] = [];
  let next = 0;
  let refused = 0;
  const admit = (): void => {
    for (; next < requests.length; next++) {
      const request = requests[next]!;
      const reserved = scheme.reserve(request, maxLength);
      const begin = allocator.allocate(reserved);
      if (begin !== undefined) running.push(begun(request, begin, reserved));
      else if (running.length === 0) refused += 1;
      else return;
    }
  };
  for (;;) {
    for (const reservation of running) reservation.held += 1;
    admit();
    if (running.length === 0) return { shares: tally.shares(), refused };
    count(tally, running, next < requests.length);
    onPass(next);
    running = leave(allocator, running);
  }
}

function begun(request: Lengths, begin: number, slots: number): Reservation {
  return { begin, slots, total: totalTokens(request), held: firstPassTokens(request) };
}

function count(tally: Tally, running: readonly Reservation[], isWaited: boolean): void {
  let used = 0;
  let later = 0;
  let never = 0;
  for (const { slots, total, held } of running) {
    used += held;
    later += total - held;
    never += slots - total;
  }
  tally.add(used, later, never, running.length, isWaited);
}

/** Frees those that have all their tokens, and returns the others. */
function leave(allocator: Allocator, running: Reservation[]): Reservation[] {
  const isDone = ({ total, held }: Reservation): boolean => held >= total;
  if (!running.some(isDone)) return running;
  for (const { begin, slots } of running.filter(isDone)) allocator.free(begin, slots);
  return running.filter((reservation) => !isDone(reservation));
}
