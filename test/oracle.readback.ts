/** Reads keys and values back through block tables, and compares them with what the tokens' prefixes say. */
import assert from 'node:assert/strict';
import type { CacheLayout } from '../src/plan.js';
import type { Contents, OracleMemory } from './oracle.memory.js';
import { element, PLANES, WIDTH, type Prefix } from './oracle.payload.js';
import { Places } from './oracle.places.js';
import { queryTokens, type Planned, type Tracked } from './oracle.state.js';

export class ReadBack {
  readonly #memory: OracleMemory;
  readonly #layout: CacheLayout;
  /** As last read; undefined once memory was written. */
  #contents: Contents | undefined;
  #writes = 0;

  constructor(memory: OracleMemory) {
    this.#memory = memory;
    this.#layout = memory.cache.layout;
  }

  /** Memory was written: read it again. */
  forget(): void {
    this.#contents = undefined;
    this.#writes += 1;
  }

  /** Every committed token of an active sequence, through its row of the manager's block table. */
  async checkSequences(
    sequences: readonly Tracked[],
    steps: readonly Planned[],
    table: Int32Array,
  ): Promise<void> {
    const contents = await this.#read();
    const pending = steps.filter(({ stage }) => stage === 'scheduled');
    const places = new Places(pending.map(({ moves }) => moves));
    const { blockSize } = this.#layout;
    for (const { number, row, hasRow, prefixes } of sequences) {
      if (row === undefined || !hasRow) continue;
      const blocks = this.#row(table, row, prefixes.length);
      for (const [position, prefix] of prefixes.entries()) {
        const named = blocks[Math.floor(position / blockSize)]!;
        const { tier, block } = places.now(named);
        const slot = block * blockSize + (position % blockSize);
        const at = (): string => `sequence ${number}, token ${position} in ${tier} slot ${slot}`;
        checkToken(contents[tier], slot, prefix, at);
      }
    }
  }

  /**
   * What kernels see of an executed step: the block table as the device has it names what was planned, and
   * through it every token, those of the pass included, reads back right. `table`: the manager's.
   */
  async checkPass(step: Planned, table: Int32Array): Promise<void> {
    const contents = await this.#read();
    const { blockSize } = this.#layout;
    for (const { sequence, prefixes, blocks } of step.entries) {
      const live = this.#row(table, sequence.row!, prefixes.length);
      const uploaded = this.#row(contents.table ?? table, sequence.row!, prefixes.length);
      for (const [cell, block] of uploaded.entries()) {
        // A duplicate may have ended since the step was scheduled.
        const isKnown = block === live[cell] || block === blocks[cell];
        assert(
          isKnown,
          `the device's table of sequence ${sequence.number} has ${block} in ${cell}`,
        );
      }
      for (const [position, prefix] of prefixes.entries()) {
        const block = uploaded[Math.floor(position / blockSize)]!;
        const slot = block * blockSize + (position % blockSize);
        const at = (): string =>
          `the pass of step ${step.number}, sequence ${sequence.number}, token ${position} in slot ${slot}`;
        checkToken(contents.device, slot, prefix, at);
      }
    }
    this.#checkSlots(step);
  }

  /** Each query token goes where the block table says, and no two to the same slot. */
  #checkSlots(step: Planned): void {
    const { blockSize } = this.#layout;
    const seen = new Set<number>();
    for (const { entry, position, slot } of queryTokens(step)) {
      if (slot < 0) continue;
      const block = entry.blocks[Math.floor(position / blockSize)]!;
      assert.equal(slot, block * blockSize + (position % blockSize), 'the slot mapping');
      assert(!seen.has(slot), `slot ${slot} is written twice`);
      seen.add(slot);
    }
  }

  #row(table: Int32Array, row: number, tokens: number): Int32Array {
    const begin = row * this.#layout.maxBlocksPerSequence;
    return table.subarray(begin, begin + Math.ceil(tokens / this.#layout.blockSize));
  }

  async #read(): Promise<Contents> {
    if (this.#contents !== undefined) return this.#contents;
    const writes = this.#writes;
    const contents = await this.#memory.read();
    // What lands while memory is read may be missing.
    if (writes === this.#writes) this.#contents = contents;
    return contents;
  }
}

function checkToken(
  planes: readonly Float32Array[],
  slot: number,
  prefix: Prefix,
  where: () => string,
): void {
  for (let plane = 0; plane < PLANES; plane++) {
    for (let i = 0; i < WIDTH; i++) {
      const found = planes[plane]![slot * WIDTH + i];
      if (found === element(prefix, plane, i)) continue;
      const name = plane % 2 === 0 ? 'key' : 'value';
      const expected = element(prefix, plane, i);
      assert.fail(
        `${where()}: ${name} ${i} of layer ${plane >> 1} is ${found} and not ${expected}`,
      );
    }
  }
}
