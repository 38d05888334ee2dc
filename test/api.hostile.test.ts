/** Callers who mean harm, or use what was closed: coded errors, and nothing half made. */
import { describe, expect, it } from 'vitest';
import type { Step } from '../src/index.js';
import { coded, ids, mustSchedule } from './api.helpers.js';
import { scene, setScene } from './api.scene.js';

setScene();

describe('a method that was borrowed', () => {
  const strangers = [undefined, null, 7, 'x', {}, [], Object.create(null), new Proxy({}, {})];

  it('refuses whatever is not its own', () => {
    const { kv, chat, batch, open } = scene;
    const transfer = kv.preempt(chat, { mode: 'drop' });
    for (const object of [kv, chat, batch, open, transfer]) {
      for (const member of membersOf(object)) {
        for (const stranger of [...strangers, Object.create(object)]) {
          expect(() => member.call(stranger, 1)).toThrow(coded('INVALID_RECEIVER'));
        }
      }
    }
    kv.validate();
  });

  it('or a constructor called from outside makes nothing', () => {
    const { kv, chat, batch, open } = scene;
    const transfer = kv.preempt(chat, { mode: 'drop' });
    for (const object of [chat, batch, open, transfer]) {
      const Class = object.constructor as new (...values: unknown[]) => unknown;
      expect(() => new Class()).toThrow(coded('INVALID_RECEIVER'));
      expect(() => new Class({ words: [0] }, 0, 0)).toThrow(coded('INVALID_RECEIVER'));
    }
  });

  function membersOf(object: object): ((...values: unknown[]) => unknown)[] {
    const prototype = Object.getPrototypeOf(object) as object;
    return Reflect.ownKeys(prototype)
      .filter((key) => key !== 'constructor')
      .flatMap((key) => {
        // eslint-disable-next-line @typescript-eslint/unbound-method -- to be called on strangers
        const { value, get } = Object.getOwnPropertyDescriptor(prototype, key)!;
        return [(value ?? get) as (...values: unknown[]) => unknown];
      });
  }
});

describe('a manager that was closed', () => {
  it('answers everything with MANAGER_CLOSED, but for a second close', () => {
    const { kv, chat, batch, open, ended } = scene;
    batch.addToken(chat, 1);
    kv.close();
    const uses: (() => unknown)[] = [
      () => kv.open([1]),
      () => kv.lookup([1]),
      () => kv.admission(),
      () => kv.batch(),
      () => kv.schedule(batch),
      () => kv.schedule([{ sequence: chat, tokens: 1 }]),
      () => kv.preempt(chat),
      () => kv.clear(),
      () => kv.stats(),
      () => kv.validate(),
      () => chat.length,
      () => chat.fork(),
      () => chat.truncate(0),
      () => chat.resume([1]),
      () => chat.close(),
      () => batch.add(chat, 1),
      () => batch.addToken(chat, 1),
      () => open.attention,
      () => open.moves,
      () => open.commit(),
      () => open.abort(),
      () => ended.beginExecute(),
    ];
    for (const use of uses) expect(use).toThrow(coded('MANAGER_CLOSED'));
    expect(chat.state).toBe('closed');
    expect(() => chat[Symbol.dispose]()).not.toThrow();
    expect(() => kv.close()).not.toThrow();
  });
});

describe('a hostile caller', () => {
  it('whose getter throws in the middle of a batch leaves no half of it', () => {
    const { kv, chat } = scene;
    const digest = kv.validate();
    const failure = new Error('of the getter');
    const entry = {
      sequence: chat,
      get tokens(): number {
        throw failure;
      },
    };
    expect(() => kv.schedule([{ sequence: chat, tokens: 1 }, entry])).toThrow(failure);
    expect(kv.validate()).toBe(digest);
  });

  it('who schedules while a schedule reads gets two steps that stand', () => {
    const { kv, chat } = scene;
    scene.open.abort();
    const inner: Step[] = [];
    const aside = kv.open([1]);
    const entry = {
      sequence: chat,
      get tokens(): number[] {
        inner.push(mustSchedule(kv, [{ sequence: aside, tokens: [1] }]));
        return [7, 8];
      },
    };
    const outer = mustSchedule(kv, [entry]);
    expect(outer.attention.tokens).toBe(2);
    expect(inner[0]!.attention.tokens).toBe(1);
    inner[0]!.commit();
    outer.commit();
    expect(chat.length).toBe(8);
    kv.validate();
  });

  it('whose array lies about its length writes nothing beyond it', () => {
    const { kv, chat, batch } = scene;
    const long = ids(200);
    Object.defineProperty(long, 'length', { value: 1 });
    expect(() => batch.add(chat, long)).toThrow(coded('BATCH_TOO_LARGE'));
    const short = ids(1);
    Object.defineProperty(short, 'length', { value: 1000 });
    batch.add(chat, short);
    expect(batch.tokens).toBe(1);
    kv.validate();
  });

  it('who closes the manager in a getter is told so', () => {
    const { kv, chat } = scene;
    const entry = {
      sequence: chat,
      get tokens(): number {
        kv.close();
        return 1;
      },
    };
    expect(() => kv.schedule([entry])).toThrow(coded('MANAGER_CLOSED'));
  });
});
