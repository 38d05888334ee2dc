/**
 * Which keys a query sees. Kernels, host and plans of work all ask here and nowhere else: what more is to be
 * masked (by a tree of drafts, say) has its place in `isVisible`, in both languages.
 */
import { readInteger, readOptions } from '../validate.js';

/** How far attention reaches back; without any of these, to the first token. */
export interface Reach {
  /** Tokens that a query sees, its own included: the last so many. */
  readonly window?: number;
  /** Tokens at the start of a sequence that every later query sees, whatever `window` and `chunk` say. */
  readonly sinks?: number;
  /** Positions are cut into chunks of so many tokens, and a query sees its own chunk. */
  readonly chunk?: number;
}

export const REACH_NAMES = ['window', 'sinks', 'chunk'] as const satisfies (keyof Reach)[];

/** A reach with every rule spelled out. */
export type Rules = Required<Reach>;

/** No sequence is so long. */
const UNLIMITED = 2 ** 31;

const ALL: Rules = Object.freeze({ window: UNLIMITED, sinks: 0, chunk: UNLIMITED });

/** What is left out is as in `otherwise`. Throws `INVALID_OPTION` or `UNKNOWN_OPTION`. */
export function readReach(what: string, value: unknown, otherwise: Rules = ALL): Rules {
  if (value === undefined) return otherwise;
  const given = readOptions(what, value, REACH_NAMES);
  return {
    window: readInteger('window', given.window, 1, UNLIMITED, otherwise.window),
    sinks: readInteger('sinks', given.sinks, 0, UNLIMITED, otherwise.sinks),
    chunk: readInteger('chunk', given.chunk, 1, UNLIMITED, otherwise.chunk),
  };
}

/** Whether a query at position `query` sees the key at position `key`. */
export function isVisible({ window, sinks, chunk }: Rules, query: number, key: number): boolean {
  if (key > query) return false;
  if (key < sinks) return true;
  return query - key < window && Math.floor(key / chunk) === Math.floor(query / chunk);
}

/**
 * What neighbouring queries, the first at position `first`, see at most: positions below `sinks`, and those from
 * `low` on. Every position of it that is not behind the last query is seen by one of them.
 */
export function seenFrom(rules: Rules, first: number): { readonly sinks: number; low: number } {
  const low = Math.max(0, first + 1 - rules.window, first - (first % rules.chunk));
  return { sinks: Math.min(rules.sinks, low), low };
}

/** The same in WGSL, over `window`, `sinks` and `chunk`, which the shader declares. */
export const VISIBILITY_WGSL = /* wgsl */ `
/** A query token: which of the step's, and its place in its sequence. */
struct Query { token: u32, position: u32 }

fn isVisible(query: Query, key: u32) -> bool {
  if (key > query.position) { return false; }
  if (key < sinks()) { return true; }
  return query.position - key < window() && key / chunk() == query.position / chunk();
}

/** Whether all queries from \`first\` to \`last\` see all keys from \`begin\` to \`end\`; may say no where they do. */
fn isWhollyVisible(first: Query, last: Query, begin: u32, end: u32) -> bool {
  if (end > first.position) { return false; }
  if (end < sinks()) { return true; }
  return last.position - begin < window() && begin / chunk() == last.position / chunk();
}
`;
