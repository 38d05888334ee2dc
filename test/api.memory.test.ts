/** The binding's host memory, called as no TypeScript of ours would call it, and ended in every way there is. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { native } from '../src/native.js';

const OK = 0;
const INVALID_ARGUMENT = 100;
const OUT_OF_MEMORY = 102;
const MEMORY_CLOSED = 104;
const OUT_OF_RANGE = 105;

const NO_WORDS = [undefined, null, -1, 0.5, NaN, Infinity, 2 ** 32, '1', 1n, {}, [], Symbol('x')];
const NO_SIZES = [undefined, null, -1, 0.5, NaN, Infinity, 2 ** 53, '1', 1n, {}, [], Symbol('x')];

/** 8 records of 100 bytes from byte 10 on; on the device's side 4 blocks of a plane of 60 bytes and one of 40. */
const SHAPE = [10, 8, 100, 4, 0, 0, 0, 60, 0, 240, 40, 60];
const BYTES = 10 + 8 * 100;

type AnyCall = (...values: unknown[]) => unknown;

function call(name: keyof typeof native, ...values: unknown[]): unknown {
  return (native[name] as AnyCall)(...values);
}

function makeMemory(bytes: number): number {
  const out = new Float64Array(1);
  expect(native.createMemory(bytes, out)).toBe(OK);
  return out[0]!;
}

/** With one word another. */
function changed(index: number, word: number): Float64Array {
  const shape = Float64Array.from(SHAPE);
  shape[index] = word;
  return shape;
}

function withArgument(values: readonly unknown[], index: number, value: unknown): unknown[] {
  return values.map((each, i) => (i === index ? value : each));
}

describe('host memory of the binding', () => {
  it('refuses what is no memory, and one that was closed', () => {
    const closed = makeMemory(100);
    native.closeMemory(closed);
    const forgotten = makeMemory(100);
    native.forgetMemory(forgotten);
    for (const name of [
      'viewMemory',
      'touchMemory',
      'moveBlocks',
      'beginMoveBlocks',
      'copyPlainly',
    ] as const) {
      for (const bad of NO_WORDS) expect(call(name, bad, 0, 1)).toBe(INVALID_ARGUMENT);
      for (const bad of [closed, forgotten, 4_000_000_000]) {
        expect(call(name, bad, 0, 1)).toBe(MEMORY_CLOSED);
      }
    }
    for (const name of ['closeMemory', 'forgetMemory'] as const) {
      for (const bad of NO_WORDS) expect(call(name, bad)).toBe(INVALID_ARGUMENT);
      expect(call(name, closed)).toBe(OK);
    }
  });

  it('refuses sizes that are none, and tells how much there is where it is too little', () => {
    const out = new Float64Array(1);
    for (const bad of NO_SIZES) expect(call('createMemory', bad, out)).toBe(INVALID_ARGUMENT);
    for (const bad of [...NO_SIZES, new Float64Array(0), new Uint32Array(1)]) {
      expect(call('createMemory', 100, bad)).toBe(INVALID_ARGUMENT);
    }
    expect(native.createMemory(2 ** 52, out)).toBe(OUT_OF_MEMORY);
    expect(out[0]).toBeGreaterThan(2 ** 20);
    expect(out[0]).toBeLessThan(2 ** 52);
  });

  it('shows its parts, and nothing beyond', () => {
    const memory = makeMemory(1000);
    for (const bad of NO_SIZES) {
      expect(call('viewMemory', memory, bad, 10)).toBe(INVALID_ARGUMENT);
      expect(call('viewMemory', memory, 10, bad)).toBe(INVALID_ARGUMENT);
    }
    for (const [offset, bytes] of [
      [0, 1001],
      [1001, 0],
      [999, 2],
      [2 ** 52, 2 ** 52],
    ] as const) {
      expect(call('viewMemory', memory, offset, bytes)).toBe(INVALID_ARGUMENT);
    }
    const view = native.viewMemory(memory, 500, 500) as ArrayBuffer;
    expect(new Uint8Array(view)).toEqual(new Uint8Array(500));
    native.closeMemory(memory);
    expect(new Uint8Array(view)).toEqual(new Uint8Array(500));
  });

  it.each(['moveBlocks', 'beginMoveBlocks'] as const)(
    '%s refuses what is no direction, shape, moves, range or other side',
    async (name) => {
      const memory = makeMemory(BYTES);
      const near = makeMemory(400);
      const shape = Float64Array.from(SHAPE);
      const moves = Uint32Array.of(0, 1, 2, 0, 3, 7);
      const valid = [memory, true, shape, moves, 0, 2, near];
      expect(await call(name, ...valid)).toBe(OK);
      const bads: unknown[][] = [
        [],
        NO_WORDS,
        [...NO_WORDS, Uint32Array.from(SHAPE), shape.subarray(0, 6), shape.subarray(0, 7)],
        [...NO_WORDS, new Int32Array(6), new Uint32Array(new SharedArrayBuffer(24))],
        [...NO_WORDS, 3],
        [...NO_WORDS, 3],
        [...NO_WORDS, new Float32Array(100), new Uint8Array(new SharedArrayBuffer(200))],
      ];
      for (const [argument, values] of bads.entries()) {
        for (const bad of values) {
          const given = withArgument(valid, argument, bad);
          expect(call(name, ...given), `argument ${argument}`).toBe(INVALID_ARGUMENT);
        }
      }
      expect(call(name, ...withArgument(valid, 6, 4_000_000_000))).toBe(MEMORY_CLOSED);
      expect(call(name, ...withArgument(valid, 3, Uint32Array.of(0, 1, 2, 1, 3, 7)))).toBe(
        INVALID_ARGUMENT,
      );
      native.closeMemory(memory);
      native.closeMemory(near);
    },
  );

  it('refuses shapes that reach beyond a memory, or whose sizes contradict each other', () => {
    const memory = makeMemory(BYTES);
    const near = makeMemory(400);
    const moves = Uint32Array.of(0, 0, 0);
    const move = (shape: Float64Array): unknown =>
      call('moveBlocks', memory, true, shape, moves, 0, 1, near);
    for (const index of SHAPE.keys()) {
      for (const bad of [-1, 0.5, NaN, 2 ** 53]) {
        expect(move(changed(index, bad))).toBe(INVALID_ARGUMENT);
      }
    }
    const large = 2 ** 53 - 1;
    const beyond = [
      [0, 11], [1, 9], [2, 101], [3, 5], [4, 3], [6, 161], [7, 101], [8, 41], [9, 241], [10, 41], [11, 61],
      [0, large], [1, large], [2, large], [3, large], [7, large], [8, large], [10, large], [11, large],
    ] as const; // prettier-ignore
    for (const [index, word] of beyond) {
      expect(move(changed(index, word)), `word ${index}`).toBe(INVALID_ARGUMENT);
    }
    // As int8, 60 and 40 bytes of f32 are 15 and 10 values.
    for (const headDim of [0, 2, 3, 7, large]) {
      const shape = changed(4, 1);
      shape[5] = headDim;
      expect(move(shape)).toBe(INVALID_ARGUMENT);
    }
    const shape = changed(4, 1);
    shape[5] = 5;
    expect(move(shape)).toBe(OK);
    native.closeMemory(memory);
    native.closeMemory(near);
  });

  it('refuses blocks that are not there, in either direction', () => {
    const memory = makeMemory(BYTES);
    const near = makeMemory(400);
    const shape = Float64Array.from(SHAPE);
    const move = (store: boolean, ...blocks: [number, number]): unknown =>
      native.moveBlocks(memory, store, shape, Uint32Array.of(0, ...blocks), 0, 1, near);
    expect([move(true, 3, 7), move(false, 7, 3)]).toEqual([OK, OK]);
    for (const bad of [4, 2 ** 32 - 1]) expect(move(true, bad, 0)).toBe(OUT_OF_RANGE);
    for (const bad of [8, 2 ** 32 - 1]) expect(move(true, 0, bad)).toBe(OUT_OF_RANGE);
    expect([move(false, 8, 0), move(false, 0, 4)]).toEqual([OUT_OF_RANGE, OUT_OF_RANGE]);
    native.closeMemory(memory);
    native.closeMemory(near);
  });

  it('takes an array whose memory was transferred away for an empty one', () => {
    const memory = makeMemory(BYTES);
    const packed = Float64Array.of(10, 8, 100, 0, 0, 0, 0, 100, 0);
    const bytes = new Uint8Array(100);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    const moves = Uint32Array.of(0, 0, 0);
    expect(native.moveBlocks(memory, true, packed, moves, 0, 1, bytes)).toBe(INVALID_ARGUMENT);
    native.closeMemory(memory);
  });

  it('refuses numbers of threads that are none', () => {
    for (const bad of [...NO_WORDS, 0, 65])
      expect(call('setCopyThreads', bad)).toBe(INVALID_ARGUMENT);
    expect(native.setCopyThreads(3)).toBe(OK);
  });

  it('copies plainly what it moves, to be held against', () => {
    const [memory, near] = [makeMemory(BYTES), makeMemory(400)];
    const out = new Float64Array(1);
    const move = [memory, true, Float64Array.from(SHAPE), Uint32Array.of(0, 1, 2), 0, 1, near];
    const blocks = new Uint8Array(native.viewMemory(near, 0, 400) as ArrayBuffer);
    blocks.forEach((_, i) => (blocks[i] = i));
    expect(call('copyPlainly', ...move, 2, out)).toBe(OK);
    const record = new Uint8Array(native.viewMemory(memory, 210, 100) as ArrayBuffer);
    expect(record).toEqual(
      Uint8Array.of(...blocks.subarray(60, 120), ...blocks.subarray(280, 320)),
    );
    expect(out[0]).toBeGreaterThanOrEqual(0);
    for (const bad of [...NO_WORDS, 0, 65]) {
      expect(call('copyPlainly', ...move, bad, out)).toBe(INVALID_ARGUMENT);
      expect(call('copyPlainly', ...move, 2, bad)).toBe(INVALID_ARGUMENT);
    }
    native.closeMemory(memory);
    native.closeMemory(near);
  });

  it('is touched once', async () => {
    const memory = makeMemory(1000);
    expect(await native.touchMemory(memory)).toBe(OK);
    expect(native.touchMemory(memory)).toBe(INVALID_ARGUMENT);
    native.closeMemory(memory);
  });

  it('counts as external memory, and stays while a view is left', async () => {
    const bytes = 64 * 2 ** 20;
    const show = (): Uint8Array => {
      const memory = makeMemory(bytes);
      const view = new Uint8Array(native.viewMemory(memory, 0, bytes) as ArrayBuffer);
      native.forgetMemory(memory);
      return view.fill(5);
    };
    const before = process.memoryUsage().external;
    let view: Uint8Array | undefined = show();
    expect(process.memoryUsage().external - before).toBeGreaterThan(bytes / 2);
    gc!();
    await sleep(5);
    expect(view.every((byte) => byte === 5)).toBe(true);
    view = undefined;
    for (let i = 0; i < 50 && process.memoryUsage().external - before > bytes / 2; i++) {
      gc!();
      await sleep(5);
    }
    expect(process.memoryUsage().external - before).toBeLessThan(bytes / 2);
  });
});

/** Begins to touch memory and to move 64 MiB, again and again. */
const BUSY = `
  const native = require(${JSON.stringify(createRequire(import.meta.url).resolve('#addon'))});
  const out = new Float64Array(1);
  const RECORD = 65536;
  const BLOCKS = 1024;
  const make = () => (native.createMemory(RECORD * BLOCKS, out), out[0]);
  const shape = Float64Array.of(0, BLOCKS, RECORD, BLOCKS, 0, 0, 0, RECORD, 0);
  const moves = Uint32Array.from({ length: 3 * BLOCKS }, (_, i) => i % 3 === 0 ? 0 : (i / 3 | 0));
  const [host, near] = [make(), make()];
  const begun = [native.touchMemory(host), native.touchMemory(near)];
  for (let i = 0; i < 8; i++) {
    const other = i % 2 === 0 ? near : new Uint8Array(RECORD * BLOCKS);
    begun.push(native.beginMoveBlocks(host, i % 4 < 2, shape, moves, 0, BLOCKS, other));
  }
`;

async function run(script: string): Promise<{ code: number | null; text: string }> {
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (part: Buffer) => (text += part.toString()));
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, text };
}

describe('a process that moves blocks', () => {
  it('stays until they are moved', async () => {
    const script = `${BUSY} Promise.all(begun).then((all) => console.log(all.join('')));`;
    expect(await run(script)).toEqual({ code: 0, text: '0000000000\n' });
  });

  it.each([
    ['exits', 'process.exit(7);', 7],
    ['exits a little later', 'setTimeout(() => process.exit(7), 3);', 7],
    [
      'throws',
      'console.error = () => {}; process.on("uncaughtException", () => process.exit(9)); throw 1;',
      9,
    ],
    [
      'closes its memory',
      'native.closeMemory(host); native.closeMemory(near); process.exit(3);',
      3,
    ],
  ])('ends as it should when it %s', async (_, end, code) => {
    expect(await run(`${BUSY} ${end}`)).toEqual({ code, text: '' });
  });

  it('settles what was begun before memory is closed', async () => {
    const script = `${BUSY} native.closeMemory(host); native.closeMemory(near);
      Promise.all(begun.slice(2)).then((all) => console.log(all.join('')));`;
    expect(await run(script)).toEqual({ code: 0, text: '00000000\n' });
  });

  it('can end its threads meanwhile', async () => {
    const script = `${BUSY} require('node:worker_threads').parentPort.postMessage('ready');`;
    for (let i = 0; i < 3; i++) {
      const workers = Array.from({ length: 2 }, () => new Worker(script, { eval: true }));
      await Promise.all(workers.map((worker) => once(worker, 'message')));
      await Promise.all(workers.map((worker) => worker.terminate()));
    }
  });
});
