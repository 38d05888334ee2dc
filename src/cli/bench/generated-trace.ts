/** Agents at work, drawn from a seed: for where no trace is at hand. */
import { parseLine } from '../json.js';
import { RequestCollector, type Trace } from '../replay/trace.js';
import type { Request } from '../replay/request.js';

const NAME = 'generated agents';
const BLOCK_SIZE = 16;
const SYSTEM_BLOCKS = 60;
/** Conversations that take turns, and the turns that each has. */
const SESSIONS_AT_ONCE = 16;
const MOST_TURNS = 40;
const MOST_NEW_BLOCKS = 24;
const MOST_OUTPUT_BLOCKS = 6;

interface Session {
  readonly number: number;
  /** Ids of its blocks, as pairs: the first and how many. */
  chain: number[];
  turnsLeft: number;
}

/**
 * Conversations that begin with one system prompt, each turn of which goes on where the last one ended, in
 * turns at random. `random`: from 0 up to but not including 1.
 */
export function generateTrace(requests: number, random: () => number): Trace {
  const collector = new RequestCollector(BLOCK_SIZE);
  const upTo = (most: number): number => 1 + Math.floor(most * random());
  let nextId = SYSTEM_BLOCKS;
  let sessions = 0;
  const newIds = (count: number): [number, number] => {
    nextId += count;
    return [nextId - count, count];
  };
  const newSession = (): Session => ({
    number: sessions++,
    chain: [0, SYSTEM_BLOCKS],
    turnsLeft: upTo(MOST_TURNS),
  });
  const open = Array.from({ length: SESSIONS_AT_ONCE }, newSession);
  for (let i = 0; i < requests; i++) {
    const at = Math.floor(open.length * random());
    const session = open[at]!;
    const input = [...session.chain, ...newIds(upTo(MOST_NEW_BLOCKS))];
    const output = newIds(upTo(MOST_OUTPUT_BLOCKS));
    const request = toRequest(1000 * i, session.number, input, output);
    collector.add(request, parseLine(NAME, i + 1, 'null'));
    session.chain = [...input, ...output];
    if (--session.turnsLeft === 0) open[at] = newSession();
  }
  return {
    name: NAME,
    blockSize: BLOCK_SIZE,
    blocks: collector.blocks,
    requests: collector.finish(),
  };
}

function toRequest(
  time_ms: number,
  session: number,
  input: readonly number[],
  output: readonly [number, number],
): Request {
  const blocks = input.reduce((sum, part, i) => sum + (i % 2 === 1 ? part : 0), 0);
  return {
    time_ms,
    inputTokens: blocks * BLOCK_SIZE,
    outputTokens: output[1] * BLOCK_SIZE,
    input,
    output,
    session,
    stop: '',
  };
}
