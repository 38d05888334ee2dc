/** The binding, called as no TypeScript of ours would call it: it answers with a status, whatever it is given. */
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { native, Reply } from '../src/native.js';

const OK = 0;
const INVALID_CONFIG = 2;
const INVALID_KEYS = 29;
const INVALID_ARGUMENT = 100;
const MANAGER_CLOSED = 101;

/** 16-token blocks, 4 sequences of 64 tokens, a batch of 4 and 64 tokens, 2 steps, least recently used, no events,
 * an exclusive host that is written back, what is on it weighed, no watermarks, and 8 device blocks. */
const CONFIG = Uint32Array.of(16, 4, 64, 4, 64, 2, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1);
const MEASURES = 23;

type AnyCall = (...values: unknown[]) => unknown;
const calls = native as unknown as Record<string, AnyCall | number>;

function call(name: string, ...values: unknown[]): unknown {
  return (calls[name] as AnyCall)(...values);
}

function makeMemory(): Uint32Array {
  const out = new Float64Array(MEASURES);
  expect(native.measure(CONFIG, out)).toBe(OK);
  const words = native.replyWords + out[MEASURES - 1]!;
  return new Uint32Array(words);
}

function makeManager(): number {
  const memory = makeMemory();
  expect(native.create(CONFIG, memory)).toBe(OK);
  return memory[Reply.manager]!;
}

/** What is asked of no manager: there is none yet, or it is about host memory. */
const OTHERS =
  /^measure|^create|Memory$|oveBlocks$|^copyPlainly$|^drainMoves$|^readThreadClock$|^setCopyThreads$/;
const TAKES_A_MANAGER = Object.keys(native).filter(
  (name) => typeof calls[name] === 'function' && !OTHERS.test(name),
);

const NO_WORDS = [undefined, null, -1, 0.5, NaN, Infinity, 2 ** 32, '1', 1n, {}, [], Symbol('x')];

describe('the binding', () => {
  it.each(TAKES_A_MANAGER)('%s refuses what is no manager', (name) => {
    expect(call(name)).toBe(INVALID_ARGUMENT);
    for (const stranger of NO_WORDS) expect(call(name, stranger)).toBe(INVALID_ARGUMENT);
    if (name !== 'closeManager') expect(call(name, 4_000_000_000)).toBe(MANAGER_CLOSED);
  });

  it('refuses what is no slot, generation, length, mode, ticket or flag', () => {
    const manager = makeManager();
    for (const bad of NO_WORDS) {
      for (const name of ['fork', 'truncate', 'preempt', 'commit', 'abort', 'beginExecute']) {
        expect(call(name, manager, bad, 0, 0)).toBe(INVALID_ARGUMENT);
        expect(call(name, manager, 0, bad, 0)).toBe(INVALID_ARGUMENT);
      }
      for (const name of ['fork', 'truncate', 'preempt', 'endExecute', 'commit', 'resume']) {
        expect(call(name, manager, 0, 0, bad)).toBe(INVALID_ARGUMENT);
      }
      expect(call('schedule', manager, bad)).toBe(INVALID_ARGUMENT);
      expect(call('beginTransfer', manager, bad)).toBe(INVALID_ARGUMENT);
      expect(call('endTransfer', manager, bad, true)).toBe(INVALID_ARGUMENT);
      expect(call('endTransfer', manager, 0, bad)).toBe(INVALID_ARGUMENT);
    }
    expect(call('preempt', manager, 0, 0, 3)).toBe(INVALID_ARGUMENT);
    native.closeManager(manager);
  });

  it('tells the time of the thread only into doubles', () => {
    const out = new Float64Array(1);
    expect(native.readThreadClock(out)).toBe(OK);
    expect(out[0]).toBeGreaterThan(0);
    for (const bad of [...NO_WORDS, new Float64Array(), new Float32Array(1)]) {
      expect(call('readThreadClock', bad)).toBe(INVALID_ARGUMENT);
    }
  });

  it('refuses ids that are no Uint32Array, or stand in shared memory, and names that are no string', () => {
    const manager = makeManager();
    const shared = new Uint32Array(new SharedArrayBuffer(8));
    for (const bad of [
      ...NO_WORDS,
      Int32Array.of(1),
      Float64Array.of(1),
      new ArrayBuffer(4),
      shared,
    ]) {
      for (const name of ['open', 'lookup', 'admission']) {
        expect(call(name, manager, bad)).toBe(INVALID_ARGUMENT);
      }
    }
    for (const bad of [...NO_WORDS.filter((value) => value !== '1'), 'x'.repeat(1025), '\ud800']) {
      expect(call('open', manager, Uint32Array.of(1), bad)).toBe(INVALID_ARGUMENT);
      expect(call('clear', manager, bad)).toBe(INVALID_ARGUMENT);
    }
    expect(call('open', manager, Uint32Array.of(1), 'x'.repeat(1024))).toBe(OK);
    native.closeManager(manager);
  });

  it('refuses keys that are no words and bytes, or whose lengths do not agree', () => {
    const manager = makeManager();
    const id = Uint32Array.of(1);
    const bytes = Uint8Array.of(97, 98);
    const ranges = Uint32Array.of(0, 4, 1, 8, 9, 1);
    expect(call('lookup', manager, id, '', ranges, bytes)).toBe(OK);
    const shared = new Uint8Array(new SharedArrayBuffer(2));
    for (const bad of [...NO_WORDS, 'ab', shared, Uint32Array.of(1, 2), new ArrayBuffer(2)]) {
      for (const name of ['open', 'lookup', 'admission', 'demote', 'prefetch']) {
        expect(call(name, manager, id, '', ranges, bad)).toBe(INVALID_ARGUMENT);
      }
    }
    for (const bad of [...NO_WORDS, bytes, Float64Array.of(1, 2, 3)]) {
      expect(call('open', manager, id, '', bad, bytes)).toBe(INVALID_ARGUMENT);
      expect(call('resume', manager, 0, 1, id, bad, bytes)).toBe(INVALID_ARGUMENT);
    }
    for (const bad of [
      Uint32Array.of(0, 4),
      Uint32Array.of(0, 4, 1),
      Uint32Array.of(0, 4, 3),
      Uint32Array.of(0, 4, 1, 8, 9, 2 ** 32 - 1),
      new Uint32Array(3 * 257),
    ]) {
      expect(call('open', manager, id, '', bad, bytes)).toBe(INVALID_ARGUMENT);
    }
    for (const bad of [
      Uint32Array.of(4, 4, 2),
      Uint32Array.of(0, 4, 0, 8, 9, 2),
      Uint32Array.of(0, 4, 1, 3, 9, 1),
      Uint32Array.of(2 ** 32 - 1, 2 ** 32 - 1, 2),
    ]) {
      expect(call('open', manager, id, '', bad, bytes)).toBe(INVALID_KEYS);
      expect(call('lookup', manager, id, '', bad, bytes)).toBe(INVALID_KEYS);
    }
    native.closeManager(manager);
  });

  it('refuses to tell events where they do not fit, and names that it did not tell', () => {
    const config = CONFIG.slice();
    config[10] = 1;
    const memory = makeMemory();
    expect(native.create(config, memory)).toBe(OK);
    const manager = memory[Reply.manager]!;
    expect(call('takeEvents', manager, new Uint32Array(5 + 4 * 16), true)).toBe(OK);
    for (const bad of [...NO_WORDS, new Uint32Array(), new Uint32Array(20), Int32Array.of(1)]) {
      expect(call('takeEvents', manager, bad, true)).toBe(INVALID_ARGUMENT);
      expect(call('takeEvents', manager, new Uint32Array(100), bad)).toBe(INVALID_ARGUMENT);
    }
    for (const stranger of [...NO_WORDS, 1, 2 ** 31, 2 ** 32 - 1]) {
      expect(call('namespaceOf', manager, stranger)).toBe(INVALID_ARGUMENT);
      expect(call('keyOf', manager, stranger)).toBe(INVALID_ARGUMENT);
    }
    expect(call('keyOf', manager, 0)).toBe(INVALID_ARGUMENT);
    expect(native.namespaceOf(manager, 0)).toBe('');
    native.closeManager(manager);
  });

  it('takes an array whose memory was transferred away for an empty one', () => {
    const manager = makeManager();
    const detached = Uint32Array.of(1, 2, 3);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    expect(native.open(manager, detached)).not.toBe(OK);
    expect(native.lookup(manager, detached)).toBe(OK);
    native.closeManager(manager);
  });

  it('refuses reports of no size or time, and costs where they do not fit', () => {
    const manager = makeManager();
    const noTimes = [undefined, null, -1, NaN, Infinity, '1', 1n, {}];
    for (const bad of [...NO_WORDS, 0]) {
      expect(call('reportTransfer', manager, 0, bad, 1)).toBe(INVALID_ARGUMENT);
      expect(call('reportPrefill', manager, bad, 0, 1)).toBe(INVALID_ARGUMENT);
    }
    for (const bad of noTimes) {
      expect(call('reportTransfer', manager, 0, 1, bad)).toBe(INVALID_ARGUMENT);
      expect(call('reportPrefill', manager, 1, 0, bad)).toBe(INVALID_ARGUMENT);
    }
    expect(call('reportTransfer', manager, 2, 1, 1)).toBe(INVALID_ARGUMENT);
    for (const bad of [...NO_WORDS, new Float64Array(8), new Float64Array(10), CONFIG]) {
      expect(call('getCosts', manager, bad)).toBe(INVALID_ARGUMENT);
    }
    native.closeManager(manager);
  });

  it('passes over victims that were never given', () => {
    const memory = makeMemory();
    expect(native.create(CONFIG, memory)).toBe(OK);
    const manager = memory[Reply.manager]!;
    for (const bad of [...NO_WORDS, Float64Array.of(1)]) {
      expect(call('victim', manager, bad, 1)).toBe(INVALID_ARGUMENT);
    }
    expect(native.victim(manager, Uint32Array.of(0, 1, 2 ** 32 - 1, 0, 3), 1)).toBe(OK);
    expect(memory[Reply.victim]).toBe(2 ** 32 - 1);
    native.closeManager(manager);
  });

  it('refuses handles that were never given', () => {
    const manager = makeManager();
    for (const slot of [0, 3, 4, 2 ** 31, 2 ** 32 - 1]) {
      for (const generation of [0, 1, 2 ** 32 - 1]) {
        expect(native.closeSequence(manager, slot, generation, 0)).not.toBe(OK);
        expect(native.fork(manager, slot, generation, 0)).not.toBe(OK);
        expect(native.abort(manager, slot, generation)).not.toBe(OK);
        expect(native.commit(manager, slot, generation)).not.toBe(OK);
        expect(native.accept(manager, slot, generation, slot, generation, 0)).not.toBe(OK);
      }
      expect(native.beginTransfer(manager, slot)).not.toBe(OK);
      expect(native.endTransfer(manager, slot, true)).not.toBe(OK);
    }
    expect(native.schedule(manager, 5)).not.toBe(OK);
    expect(native.schedule(manager, 2 ** 32 - 1)).not.toBe(OK);
    expect(typeof native.validate(manager)).toBe('bigint');
    native.closeManager(manager);
  });

  it('refuses a batch of garbage', () => {
    const memory = makeMemory();
    expect(native.create(CONFIG, memory)).toBe(OK);
    const manager = memory[Reply.manager]!;
    const before = native.validate(manager);
    for (const word of [0, 1, 2 ** 29, 2 ** 30, 2 ** 31, 2 ** 32 - 1]) {
      memory.fill(word, native.replyWords, native.replyWords + 16);
      expect(native.schedule(manager, 4)).not.toBe(OK);
    }
    expect(native.validate(manager)).toBe(before);
    native.closeManager(manager);
  });

  it('refuses configurations and memories of the wrong size', () => {
    const out = new Float64Array(MEASURES);
    const memory = makeMemory();
    expect(native.measure(CONFIG, new Float64Array(MEASURES - 1))).toBe(INVALID_ARGUMENT);
    expect(native.measure(CONFIG.subarray(0, 9), out)).toBe(INVALID_ARGUMENT);
    expect(native.measure(CONFIG.subarray(0, 14), out)).toBe(INVALID_ARGUMENT);
    expect(native.measure(new Uint32Array(1000), out)).toBe(INVALID_ARGUMENT);
    expect(native.create(CONFIG, memory.subarray(1))).toBe(INVALID_ARGUMENT);
    expect(native.create(CONFIG, new Uint32Array(memory.length + 1))).toBe(INVALID_ARGUMENT);
    expect(native.getStats(makeManager(), new Float64Array(3))).toBe(INVALID_ARGUMENT);
    for (let word = 0; word < 8; word++) {
      const zero = CONFIG.slice();
      zero[word] = 0;
      // A step that plans no transfers is one that has no host tier.
      if (word !== 6) expect(native.measure(zero, out)).toBe(INVALID_CONFIG);
      const huge = CONFIG.slice();
      huge[word] = 2 ** 32 - 1;
      expect(native.measure(huge, out)).toBe(INVALID_CONFIG);
      expect(native.create(huge, memory)).toBe(INVALID_CONFIG);
    }
  });

  it('runs in several threads, which end whatever is open', async () => {
    const addon = createRequire(import.meta.url).resolve('#addon');
    const script = `
      const native = require(${JSON.stringify(addon)});
      const config = Uint32Array.from(${JSON.stringify([...CONFIG])});
      const out = new Float64Array(${MEASURES});
      native.measure(config, out);
      for (let i = 0; i < 50; i++) {
        const memory = new Uint32Array(native.replyWords + out[${MEASURES - 1}]);
        if (native.create(config, memory) !== 0) throw new Error('create');
        const manager = memory[${Reply.manager}];
        if (native.open(manager, Uint32Array.of(1, 2, 3)) !== 0) throw new Error('open');
        if (i % 2 === 0) native.closeManager(manager);
      }
      require('node:worker_threads').parentPort.postMessage('ready');
      setInterval(() => {}, 1000);
    `;
    const workers = Array.from({ length: 4 }, () => new Worker(script, { eval: true }));
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    const codes = await Promise.all(workers.map((worker) => worker.terminate()));
    expect(codes).toEqual([1, 1, 1, 1]);
  });
});
