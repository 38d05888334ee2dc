/** The metadata that a decode step of 256 sequences at 32k tokens needs beyond `schedule`, by contract. */
import { KvCacheManager, type Attention, type Sequence, type Step } from '../../src/index.js';
import {
  flashInferMetadata,
  pagedAttentionMetadata,
  vllmMetadata,
  type Metadata,
} from '../../src/metadata/index.js';
import { expect, type Case } from '../case.js';
import { copyOnce } from '../yardsticks.js';

const BATCH = 256;
const BLOCK = 16;
const TOKENS = 32_000;
/** Further steps until all begin anew. */
const MOST_STEPS = 700;
const WIDTH = Math.ceil((TOKENS + MOST_STEPS + BLOCK) / BLOCK);

const ints = (length: number): Int32Array => new Int32Array(length);

interface Contract {
  readonly metadata: Metadata<string>;
  /** Of what was written, and of the step. */
  readonly read: () => number;
  readonly right: (attention: Attention) => number;
}

export const metadataCases: readonly Case[] = [
  metadataCase('PagedAttention metadata, 256 at 32k', 5, (kv) => {
    const blockTable = ints(BATCH * WIDTH);
    const pastSeqlens = ints(BATCH);
    const metadata = pagedAttentionMetadata(kv, {
      blockTable,
      pastSeqlens,
      cumulativeSequenceLength: ints(BATCH + 1),
      slotMapping: ints(BATCH),
    });
    return { metadata, read: () => pastSeqlens[BATCH - 1]!, right: lastPast };
  }),
  metadataCase('vLLM metadata, 256 at 32k', 5, (kv) => {
    const seqLens = ints(BATCH);
    const metadata = vllmMetadata(kv, {
      blockTable: ints(BATCH * WIDTH),
      seqLens,
      queryStartLoc: ints(BATCH + 1),
      slotMapping: new BigInt64Array(BATCH),
    });
    return { metadata, read: () => seqLens[BATCH - 1]! - 1, right: lastPast };
  }),
  metadataCase('FlashInfer metadata, 256 at 32k', undefined, (kv) => {
    const pagedKvIndptr = ints(BATCH + 1);
    const metadata = flashInferMetadata(kv, {
      qoIndptr: ints(BATCH + 1),
      pagedKvIndptr,
      pagedKvIndices: ints(BATCH * WIDTH),
      pagedKvLastPageLen: ints(BATCH),
    });
    return { metadata, read: () => pagedKvIndptr[BATCH]!, right: blocksOf };
  }),
];

function lastPast({ pastLengths }: Attention): number {
  return pastLengths[BATCH - 1]!;
}

function blocksOf({ pastLengths }: Attention): number {
  return pastLengths.reduce((sum, past) => sum + Math.ceil((past + 1) / BLOCK), 0);
}

/** Sequences that begin apart, so that in each step a sixteenth of them takes a block. */
class LongDecode {
  readonly kv = new KvCacheManager({
    model: { layers: 1, kvHeads: 1, headDim: 1, dtype: 'f16' },
    blockSize: BLOCK,
    device: { blocks: 2 * BATCH * (MOST_STEPS / BLOCK + 2) + WIDTH },
    maxSequences: BATCH + 1,
    maxSequenceTokens: WIDTH * BLOCK,
    maxBatchTokens: WIDTH * BLOCK,
  });
  readonly #batch = this.kv.batch();
  readonly #prompt: Sequence;
  #sequences: Sequence[] = [];
  steps = 0;

  /** All share one prompt, and diverge after it. */
  constructor() {
    const tokens = Uint32Array.from({ length: TOKENS }, (_, i) => i);
    this.#prompt = this.kv.open(tokens);
    this.#schedule([[this.#prompt, tokens]]).commit();
    this.begin();
  }

  begin(): void {
    for (const sequence of this.#sequences) sequence.close();
    this.#sequences = Array.from({ length: BATCH }, () => this.#prompt.fork());
    this.#schedule(
      this.#sequences.map((each, i) => [each, new Uint32Array(1 + (i % BLOCK)).fill(TOKENS + i)]),
    ).commit();
    this.steps = 0;
  }

  step(): Step {
    this.#batch.clear();
    for (let i = 0; i < BATCH; i++) this.#batch.addToken(this.#sequences[i]!, TOKENS + i);
    const step = this.kv.schedule(this.#batch);
    if (!step.ok) throw new Error('the pool is made to have room');
    this.steps += 1;
    return step;
  }

  #schedule(entries: readonly (readonly [Sequence, Uint32Array])[]): Step {
    const step = this.kv.schedule(entries.map(([sequence, tokens]) => ({ sequence, tokens })));
    if (!step.ok) throw new Error('the pool is made to have room');
    return step;
  }
}

function metadataCase(
  name: string,
  target: number | undefined,
  make: (kv: KvCacheManager) => Contract,
): Case {
  return {
    name,
    ...(target === undefined ? {} : { target }),
    yardstick: 'copy its 4 KiB once',
    prepare: () => {
      const decode = new LongDecode();
      const { metadata, read, right } = make(decode.kv);
      let step: Step;
      let attention: Attention;
      return {
        operation: {
          before: () => {
            if (decode.steps === MOST_STEPS) {
              decode.begin();
              attention = (step = decode.step()).attention;
              metadata.update(attention);
              step.commit();
            }
            attention = (step = decode.step()).attention;
          },
          run: () => {
            metadata.update(attention);
            return read();
          },
          after: (answer) => {
            expect(answer, right(attention), 'what was written');
            step.commit();
          },
        },
        yardstick: copyOnce(new Uint32Array(1024).fill(1)),
        finish: () => {
          decode.kv.validate();
          decode.kv.close();
        },
      };
    },
  };
}
