/** Time of this thread alone: what other threads and processes do meanwhile does not count. */
import { check } from '../../errors.js';
import { native } from '../../native.js';

const out = new Float64Array(1);

/** Milliseconds that this thread has been on a processor. */
export function threadTime(): number {
  check(native.readThreadClock(out));
  return out[0]!;
}
