/** What happened in the prefix index, for those who keep a picture of it: a router, or a cache above. */
import type { Core } from './core.js';
import { check, statusError } from './errors.js';
import { native, Reply } from './native.js';
import { readBoolean, readOptions } from './validate.js';

/** Everything that was told before is void; what is there follows. */
export interface ResetEvent {
  readonly kind: 'reset';
}

/** The last copy of a block, in the last tier, is gone, or it was cleared. Its id may be used again. */
export interface RemovedEvent {
  readonly kind: 'removed';
  readonly id: number;
}

/** A full block that prompts find from now on, on the device or on the host. */
export interface StoredEvent {
  readonly kind: 'stored';
  /** No other block has it until this one is removed. */
  readonly id: number;
  /** The block before it; undefined for the first of a prefix. */
  readonly parent: number | undefined;
  readonly tokens: Uint32Array;
  readonly namespace: string;
  /** Those of its tokens that stand under extra keys, counted from its first token. */
  readonly keys: readonly BlockKey[];
}

export interface BlockKey {
  readonly from: number;
  readonly to: number;
  readonly key: string;
}

export type CacheEvent = ResetEvent | RemovedEvent | StoredEvent;

export interface EventsOptions {
  /** Begin anew: a `reset`, then everything that is there. Default false. */
  readonly snapshot?: boolean;
}

/** Records of the core: `EventKind` of `native/core/event_log.h`. */
const RESET = 0;
const REMOVED = 1;
const STORED_WORDS = 5;
const KEY_WORDS = 3;
const NO_PARENT = 2 ** 32 - 1;
const PAGE_WORDS = 16384;

export function takeEvents(core: Core, options: unknown): CacheEvent[] {
  const given = options === undefined ? {} : readOptions('takeEvents', options, ['snapshot']);
  let anew = readBoolean('snapshot', given.snapshot, false);
  const longest = STORED_WORDS + (1 + KEY_WORDS) * core.config.blockSize;
  const page = new Uint32Array(Math.max(longest, PAGE_WORDS));
  const reader = new Reader(core, page);
  do {
    check(native.takeEvents(core.id, page, anew));
    reader.read(core.words[Reply.eventWords]!);
    anew = false;
  } while (core.words[Reply.moreEvents] !== 0);
  return reader.events;
}

class Reader {
  readonly events: CacheEvent[] = [];
  readonly #core: Core;
  readonly #page: Uint32Array;
  /** What the core's numbers stand for, as long as nothing changes. */
  readonly #namespaces = new Map<number, string>();
  readonly #keys = new Map<number, string>();

  constructor(core: Core, page: Uint32Array) {
    this.#core = core;
    this.#page = page;
  }

  read(words: number): void {
    const page = this.#page;
    for (let at = 0; at < words;) {
      if (page[at] === RESET) {
        this.events.push({ kind: 'reset' });
        at += 1;
      } else if (page[at] === REMOVED) {
        this.events.push({ kind: 'removed', id: page[at + 1]! });
        at += 2;
      } else {
        at = this.#readStored(at);
      }
    }
  }

  /** Returns where the next record begins. */
  #readStored(at: number): number {
    const page = this.#page;
    const parent = page[at + 2]!;
    const keysAt = at + STORED_WORDS + this.#core.config.blockSize;
    const end = keysAt + page[at + 4]! * KEY_WORDS;
    this.events.push({
      kind: 'stored',
      id: page[at + 1]!,
      parent: parent === NO_PARENT ? undefined : parent,
      tokens: page.slice(at + STORED_WORDS, keysAt),
      namespace: this.#name(this.#namespaces, 'namespaceOf', page[at + 3]!),
      keys: this.#readKeys(keysAt, end),
    });
    return end;
  }

  #readKeys(begin: number, end: number): BlockKey[] {
    const keys: BlockKey[] = [];
    for (let at = begin; at < end; at += KEY_WORDS) {
      const key = this.#name(this.#keys, 'keyOf', this.#page[at + 2]!);
      keys.push({ from: this.#page[at]!, to: this.#page[at + 1]!, key });
    }
    return keys;
  }

  #name(known: Map<number, string>, ask: 'namespaceOf' | 'keyOf', number: number): string {
    const name = known.get(number) ?? native[ask](this.#core.id, number);
    if (typeof name === 'number') throw statusError(name);
    known.set(number, name);
    return name;
  }
}
