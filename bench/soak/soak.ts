/** Rounds of serving over one manager. After each, everything has been closed, and nothing may be left of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { KvCacheManager, type EvictionPolicy, type Stats } from '../../src/index.js';
import { native } from '../../src/native.js';
import { VirtualClock } from './clock.js';
import { Contents, MODEL } from './contents.js';
import { FlakyDevice, settle } from './device.js';
import { Dice } from './dice.js';
import { Digest } from './digest.js';
import { Server } from './server.js';
import type { Traffic } from './traffic.js';

export interface SoakSetup {
  readonly seed: number;
  readonly hours: number;
  /** Each ends with everything closed. */
  readonly rounds: number;
  readonly traffic: Traffic;
  readonly eviction: EvictionPolicy;
  /** Called after each round. */
  readonly onRound?: (round: number, memory: Memory) => void;
}

/** With all garbage collected. Bytes. */
export interface Memory {
  /** Objects of JavaScript. */
  readonly heap: number;
  /** Memory that these keep alive outside of the heap. */
  readonly external: number;
  /** That native code has allocated; 0 where the C library tells none. */
  readonly native: number;
  /** Of the process, but for the heap and what it keeps alive. */
  readonly resident: number;
}

type Counts = Readonly<Record<string, number>>;

export interface SoakResult {
  readonly hours: number;
  readonly operations: Counts;
  readonly faults: Counts;
  readonly moved: Counts;
  readonly stats: Stats;
  /** From the most that it was in the first quarter of the rounds, which warm up, to the least of the last. */
  readonly grown: Memory;
  /** The same for the same seed, but for policies that chance has a part in: all but LRU. */
  readonly digest: string;
}

const HOUR_MS = 3_600_000;
/** Tokens of a prompt with its output. */
export const MAX_TOKENS = 2048;
const BLOCKS = 240;

/** Rejects with what is not as it must be. */
export async function soak(setup: SoakSetup): Promise<SoakResult> {
  const { seed, hours, rounds, traffic } = setup;
  const dice = new Dice(seed, 2);
  const digest = new Digest();
  const clock = new VirtualClock(settle);
  using kv = newManager(setup, clock, dice);
  const device = new FlakyDevice(kv, clock, dice, digest);
  using cache = device.cache;
  const contents = new Contents(cache);
  const server = new Server({ kv, clock, device, contents, dice, digest }, traffic);
  const measured: Memory[] = [];
  for (let round = 1; round <= rounds; round++) {
    await clock.run(server.serve((hours * HOUR_MS * round) / rounds));
    checkNothingIsLeft(kv);
    digest.add(...Object.values(kv.stats()).filter((value) => typeof value === 'number'));
    const memory = await measure();
    measured.push(memory);
    setup.onRound?.(round, memory);
  }
  const { counts, disturbances, steps } = server;
  return {
    hours: clock.now_ms / HOUR_MS,
    operations: { ...counts, ...steps.counts, ...disturbances.counts },
    faults: device.faults,
    moved: device.moved,
    stats: kv.stats(),
    grown: grownIn(measured),
    digest: digest.hex,
  };
}

function newManager({ eviction }: SoakSetup, clock: VirtualClock, dice: Dice): KvCacheManager {
  return new KvCacheManager({
    model: MODEL,
    device: { blocks: BLOCKS },
    host: {
      blocks: 4 * BLOCKS,
      mode: dice.pick(['exclusive', 'inclusive'] as const),
      write: dice.pick(['back', 'through', 'second-use'] as const),
    },
    eviction,
    maxSequences: 64,
    maxSequenceTokens: MAX_TOKENS + 64,
    maxOpenSteps: 4,
    events: true,
    clock: () => clock.now_ms,
  });
}

/** All replies have ended and all transfers have landed. */
function checkNothingIsLeft(kv: KvCacheManager): void {
  kv.validate();
  const { sequences, device, host } = kv.stats();
  const left = [sequences, device.held, device.inFlight, host.held, host.inFlight];
  if (left.some((count) => count > 0)) {
    throw new Error(`something is left: ${JSON.stringify({ sequences, device, host })}`);
  }
  kv.clear();
  kv.takeEvents();
  kv.validate();
  for (const { total, free } of [kv.stats().device, kv.stats().host]) {
    if (free !== total) throw new Error(`${total - free} blocks are left after all was cleared`);
  }
}

/** What leaks never gets less; what is resident comes and goes by some megabytes. */
function grownIn(measured: readonly Memory[]): Memory {
  const quarter = Math.ceil(measured.length / 4);
  const [first, last] = [measured.slice(0, quarter), measured.slice(-quarter)];
  const of = (kind: keyof Memory): number =>
    Math.min(...last.map((memory) => memory[kind])) -
    Math.max(...first.map((memory) => memory[kind]));
  return {
    heap: of('heap'),
    external: of('external'),
    native: of('native'),
    resident: of('resident'),
  };
}

const allocated = new Float64Array(1);

async function measure(): Promise<Memory> {
  globalThis.gc?.();
  await sleep(50); // pages of the heap are given back by a thread of their own
  globalThis.gc?.();
  const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
  native.measureHeap(allocated);
  return { heap: heapUsed, external, native: allocated[0]!, resident: rss - heapTotal - external };
}
