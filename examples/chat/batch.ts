/** Who gets how many tokens of a step, and the pass that a step makes. */
import type { Step } from '../../src/index.js';
import type { Pass } from './model/engine.js';
import type { Request } from './request.js';

/** Part of a step: `count` tokens of a request, from `computed` on. */
export interface Entry {
  readonly request: Request;
  readonly count: number;
}

/**
 * The batches to try, each in need of fewer blocks than the one before: one token of each reply under way, and
 * what is left of the budget for prompts, oldest first; the replies alone; those of them that have room in a
 * block of theirs.
 */
export function batchesOf(
  running: readonly Request[],
  budget: number,
  blockSize: number,
): readonly (readonly Entry[])[] {
  const decoding = running.filter(({ missing }) => missing === 1);
  const prefilling = running.filter(({ missing }) => missing > 1);
  const within = decoding.filter(({ computed }) => computed % blockSize > 0);
  return [[...decoding, ...prefilling], decoding, within].map((each) => entriesOf(each, budget));
}

function entriesOf(requests: readonly Request[], budget: number): readonly Entry[] {
  const entries: Entry[] = [];
  let left = budget;
  for (const request of requests) {
    const count = Math.min(request.missing, left);
    if (count === 0) break;
    left -= count;
    entries.push({ request, count });
  }
  return entries;
}

/** The part of a prompt that makes up a pass almost alone; undefined where the pass does something else. */
export function promptOf(
  entries: readonly Entry[],
): { readonly tokens: number; readonly past: number } | undefined {
  const prompts = entries.filter(({ count }) => count > 1);
  const [prompt] = prompts;
  const others = entries.length - 1;
  if (prompt === undefined || prompts.length > 1 || others > prompt.count / 8) return undefined;
  return { tokens: prompt.count, past: prompt.request.computed };
}

/** The query tokens of a step, and the requests whose last token is among them: each may draw its next. */
export function passOf(
  step: Step,
  entries: readonly Entry[],
): { pass: Pass; drawing: readonly Request[] } {
  const { tokens, skipped, cumulativeLengths } = step.attention;
  const ids = new Uint32Array(tokens);
  const positions = new Uint32Array(tokens);
  const wanted: number[] = [];
  const drawing: Request[] = [];
  entries.forEach(({ request, count }, i) => {
    const first = request.computed + skipped[i]!;
    const end = request.computed + count;
    let row = cumulativeLengths[i]!;
    for (let position = first; position < end; position++, row++) {
      ids[row] = request.tokens[position]!;
      positions[row] = position;
    }
    if (end < request.tokens.length) return;
    wanted.push(row - 1);
    drawing.push(request);
  });
  return { pass: { ids, positions, wanted: Uint32Array.from(wanted) }, drawing };
}
