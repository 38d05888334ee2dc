/** What others do to a server at any time: clients that go, callers who pin, demote, retain and clear. */
import type { KvCacheManager, Pin } from '../../src/index.js';
import type { Request } from './request.js';
import type { StepParts } from './steps.js';

/** Of a cycle. */
const CLIENT_GOES = 0.01;
const DEMOTES = 0.02;
const RETAINS = 0.02;
const PINS = 0.01;
const CLEARS = 0.0005;
const MOST_PIN_MS = 5000;
const MOST_GOES_MS = 60;
const MOST_PINS = 2;
/** Prompts that were served, to do something with. */
const REMEMBERED = 8;

interface Prompt {
  readonly tokens: readonly number[];
  readonly where: Request['where'];
}

export class Disturbances {
  readonly counts = { closes: 0, demotes: 0, retains: 0, pins: 0, clears: 0, events: 0 };
  readonly #parts: StepParts;
  readonly #kv: KvCacheManager;
  readonly #prompts: Prompt[] = [];
  #pins: Pin[] = [];

  constructor(parts: StepParts) {
    this.#parts = parts;
    this.#kv = parts.kv;
  }

  remember({ history, where }: Request): void {
    this.#prompts.push({ tokens: [...history.tokens], where });
    if (this.#prompts.length > REMEMBERED) this.#prompts.shift();
  }

  happen(requests: readonly Request[]): void {
    const { dice } = this.#parts;
    if (requests.length > 0 && dice.chance(CLIENT_GOES)) this.#leave(dice.pick(requests));
    if (dice.chance(CLEARS)) this.#clear();
    if (this.#prompts.length === 0) return;
    const prompt = dice.pick(this.#prompts);
    if (dice.chance(DEMOTES)) this.#demote(prompt);
    if (dice.chance(RETAINS)) this.#retain(prompt);
    if (dice.chance(PINS) && this.#pins.length < MOST_PINS) this.#pin(prompt);
  }

  /** Lets one pin go; false where there is none. */
  unpin(): boolean {
    const pin = this.#pins.shift();
    pin?.unpin();
    return pin !== undefined;
  }

  end(): void {
    while (this.unpin());
    this.#prompts.length = 0;
  }

  /** In the middle of a step or a transfer as often as not. */
  #leave(request: Request): void {
    const { clock, dice } = this.#parts;
    clock.after(dice.integer(0, MOST_GOES_MS), () => {
      if (request.isClosed) return;
      request.isClosed = true;
      request.sequence.close();
      this.counts.closes += 1;
    });
  }

  #demote({ tokens, where }: Prompt): void {
    this.counts.demotes += 1;
    const transfer = this.#kv.demote(tokens, where);
    if (transfer.blocks > 0) this.#parts.device.execute(transfer);
  }

  #retain({ tokens, where }: Prompt): void {
    const { dice } = this.#parts;
    this.counts.retains += 1;
    this.#kv.retain(tokens, { priority: dice.integer(0, 6), ttl: dice.integer(1, 20_000) }, where);
    this.counts.events += this.#kv.takeEvents().length;
  }

  #pin({ tokens, where }: Prompt): void {
    const { clock, dice } = this.#parts;
    const pin = this.#kv.pin(tokens, where);
    this.counts.pins += 1;
    this.#pins.push(pin);
    clock.after(dice.integer(1, MOST_PIN_MS), () => {
      this.#pins = this.#pins.filter((other) => other !== pin);
      pin.unpin();
    });
  }

  #clear(): void {
    this.counts.clears += 1;
    this.#kv.clear({ namespace: this.#parts.dice.pick(['', 'b', 'c']) });
  }
}
