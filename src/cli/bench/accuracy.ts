/** What a host tier in int8 costs: how far keys, values and what attention makes of them are off once back. */
import { fromHalf } from '../../attention/half.js';
import { HostAttention } from '../../attention/host.js';
import { HostCache } from '../../device/host.js';
import { KvCacheManager } from '../../manager.js';
import type { Attention } from '../../plan.js';
import { movesOf, workOf } from './blocks.js';
import { lineBelow, type Line } from './line.js';
import { NormalValues } from './normal.js';

const MODEL = { layers: 1, kvHeads: 2, headDim: 128, dtype: 'f16' } as const;
const QUERY_HEADS = 4;
const BLOCK_SIZE = 16;
/** One sequence, of which the last so many tokens attend. */
const TOKENS = 1024;
const QUERIES = 16;
const ALLOWED_PERCENT = 1;
const SEEDS = 5;

/** Keys, values and queries are normal. Takes a second. */
export async function measureAccuracy(seeds = SEEDS): Promise<Line[]> {
  const errors: Errors[] = [];
  for (let seed = 1; seed <= seeds; seed++) errors.push(await errorsOf(seed));
  const line = (what: string, of: (each: Errors) => number): Line => {
    const name = `relative L2 error of ${what} in int8, f16, ${MODEL.headDim} values a head`;
    return lineBelow(name, errors.map(of), '%', [`${ALLOWED_PERCENT} %`, ALLOWED_PERCENT]);
  };
  return [
    line('K', ({ key }) => key),
    line('V', ({ value }) => value),
    line('the attention output', ({ output }) => output),
  ];
}

/** Percent. */
interface Errors {
  readonly key: number;
  readonly value: number;
  readonly output: number;
}

/** Of one sequence that went to the host tier and came back. */
async function errorsOf(seed: number): Promise<Errors> {
  const blocks = TOKENS / BLOCK_SIZE;
  using kv = new KvCacheManager({
    model: MODEL,
    blockSize: BLOCK_SIZE,
    device: { blocks },
    host: { blocks },
    maxSequences: 1,
    maxSequenceTokens: TOKENS,
  });
  using cache = new HostCache(kv, { quantize: 'int8' });
  const attention = new HostAttention(cache, { queryHeads: QUERY_HEADS });
  const normal = new NormalValues(seed);
  const width = MODEL.kvHeads * MODEL.headDim;
  const kept = (): Float32Array => normal.fill(new Float32Array(TOKENS * width));
  attention.write(tablesOf(TOKENS), 0, kept(), kept());
  const query = normal.fill(new Float32Array(QUERIES * QUERY_HEADS * MODEL.headDim));
  const read = (): readonly Float32Array[] => [
    Float32Array.from(cache.key(0), fromHalf),
    Float32Array.from(cache.value(0), fromHalf),
    attention.attend(tablesOf(QUERIES), 0, query),
  ];
  const before = read();
  const all = [...Array(blocks).keys()];
  await cache.execute(workOf({ offloads: movesOf(all, all) }));
  cache.key(0).fill(0);
  cache.value(0).fill(0);
  await cache.execute(workOf({ onboards: movesOf(all, all) }));
  const [key, value, output] = read().map((after, i) => relativeError(after, before[i]!));
  return { key: key!, value: value!, output: output! };
}

/** Of the sequence, in block after block, whose last `queries` tokens are computed. */
function tablesOf(queries: number): Attention {
  const slotMapping = Int32Array.from({ length: queries }, (_, i) => TOKENS - queries + i);
  const blockTable = Int32Array.from({ length: TOKENS / BLOCK_SIZE }, (_, i) => i);
  return {
    batch: 1,
    tokens: queries,
    rows: Uint32Array.of(0),
    pastLengths: Int32Array.of(TOKENS - queries),
    cumulativeLengths: Int32Array.of(0, queries),
    skipped: Uint32Array.of(0),
    serial: 1,
    rowSerials: new Uint32Array(1),
    groups: [{ blockTable, tableUpdates: new Uint32Array(), slotMapping }],
  };
}

/** In L2, percent. */
function relativeError(values: Float32Array, expected: Float32Array): number {
  let off = 0;
  let all = 0;
  for (let i = 0; i < values.length; i++) {
    off += (values[i]! - expected[i]!) ** 2;
    all += expected[i]! ** 2;
  }
  return 100 * Math.sqrt(off / all);
}
