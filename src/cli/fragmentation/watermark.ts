/** The default admission: a reserve that grows with the batch, and with the preemptions it did not prevent. */
import { blocksFor, type AdmissionPolicy, type Member, type Memory } from './admission.js';

/** The goal that the command runs with unless it draws the curve. */
export const DEFAULT_PREEMPTION_GOAL = 0.08;

/** The reserve before anything was learned, in tokens for each running request. */
const FIRST_RESERVE = 64;
/** By what share the reserve grows with a preemption. */
const GAIN = 0.02;
/** Tokens that each of the others can grow by into what a victim gives up. */
const VICTIM_ROOM = 16;

/**
 * Keeps room for so many more tokens of every running request. How many is learned while it runs: each
 * preemption raises the reserve by a factor, and each request that ends lowers it by the share of that
 * factor that makes the two cancel out at `goal` preemptions a request. So it needs no tuning to a workload.
 */
export function newWatermark(maxLength: number, goal: number): AdmissionPolicy {
  let reserve = FIRST_RESERVE;
  const scale = (logFactor: number): void => {
    reserve = Math.min(maxLength, Math.max(1, reserve * Math.exp(logFactor)));
  };
  return {
    admits: (candidate, memory) => roomAfter(candidate, memory) >= reserve,
    victim: lastToMakeRoom,
    onPreempted: () => scale(GAIN),
    onFinished: () => scale(-GAIN * goal),
  };
}

/** Free slots for each request, were the candidate one of them; alone, it always has room. */
function roomAfter({ held }: Member, { blockSize, freeBlocks, running }: Memory): number {
  if (running.length === 0) return Infinity;
  const free = (freeBlocks - blocksFor(held, blockSize)) * blockSize;
  return free / (running.length + 1);
}

/**
 * The last to join of those that hold enough for all others to go on for a while; else the largest. A small
 * victim costs less to compute again, but the next one follows it a few passes later.
 */
function lastToMakeRoom(running: readonly Member[]): number {
  const enough = VICTIM_ROOM * (running.length - 1);
  let largest = running.length - 1;
  for (let i = running.length - 1; i >= 0; i--) {
    if (running[i]!.held >= enough) return i;
    if (running[i]!.held > running[largest]!.held) largest = i;
  }
  return largest;
}
