/** A way into transfers for tests: what is called for each piece of one. */
import { PagedKvError } from '../errors.js';
import { show } from '../validate.js';

/** A part of a transfer that moves at once. */
export interface TransferPiece {
  readonly direction: 'offload' | 'onboard';
  readonly group: number;
  readonly blocks: number;
  readonly bytes: number;
}

/** Called, and awaited, before a piece counts as arrived: what it throws fails the transfer. */
export type Intercept = (piece: TransferPiece) => void | Promise<void>;

/** The option of that name; refuses what is none with `INVALID_OPTION`. */
export function readIntercept(value: unknown): { readonly intercept?: Intercept } {
  if (value === undefined) return {};
  if (typeof value === 'function') return { intercept: value as Intercept };
  throw new PagedKvError('INVALID_OPTION', `intercept must be a function, got ${show(value)}`);
}
