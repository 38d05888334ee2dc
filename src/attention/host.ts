/**
 * Attention over host memory in plain TypeScript: every sum in float64, nothing clever. It is there for its
 * meaning, which the kernels share, and for engines so small that speed does not matter.
 */
import type { HostCache, PlaneView } from '../device/host.js';
import { PagedKvError } from '../errors.js';
import type { Attention, GroupTables } from '../plan.js';
import { readOptions } from '../validate.js';
import { halfValues, toHalf } from './half.js';
import {
  attentionShape,
  groupOfLayer,
  SHAPE_NAMES,
  type AttentionOptions,
  type AttentionShape,
} from './shape.js';

/** The memory of one layer. */
interface Layer {
  readonly group: number;
  readonly key: PlaneView;
  readonly value: PlaneView;
}

export class HostAttention {
  readonly shape: AttentionShape;
  readonly #cache: HostCache;
  readonly #layers = new Map<number, Layer>();

  /**
   * Throws `NO_MODEL` for a layout of bare groups, `ATTENTION_SHAPE` for heads that do not divide, and
   * `INVALID_OPTION` or `UNKNOWN_OPTION`.
   */
  constructor(cache: HostCache, options: AttentionOptions) {
    this.shape = attentionShape(cache.layout, readOptions('the attention', options, SHAPE_NAMES));
    this.#cache = cache;
  }

  /**
   * Writes the step's keys and values, each `[tokens, kvHeads, headDim]`, through the slot mapping; tokens
   * of slot −1 are skipped. f16 memory takes the nearest halves. O(tokens · kvHeads · headDim).
   */
  write(attention: Attention, layer: number, key: Float32Array, value: Float32Array): void {
    const { kvHeads, headDim } = this.shape;
    const width = kvHeads * headDim;
    checkLength('key', key, attention.tokens * width);
    checkLength('value', value, attention.tokens * width);
    const memory = this.#layer(layer);
    const { slotMapping } = attention.groups[memory.group]!;
    for (let token = 0; token < attention.tokens; token++) {
      const slot = slotMapping[token]!;
      if (slot < 0) continue;
      store(memory.key, slot * width, key.subarray(token * width, (token + 1) * width));
      store(memory.value, slot * width, value.subarray(token * width, (token + 1) * width));
    }
  }

  /**
   * Causal attention of the step's `query`, `[tokens, queryHeads, headDim]`, over all that its sequences have
   * in memory, into `output` of the same shape (made where none is given).
   * O(sum over query tokens of context · queryHeads · headDim).
   */
  attend(
    attention: Attention,
    layer: number,
    query: Float32Array,
    output: Float32Array = new Float32Array(query.length),
  ): Float32Array {
    const { queryHeads, headDim } = this.shape;
    const width = queryHeads * headDim;
    checkLength('query', query, attention.tokens * width);
    checkLength('output', output, attention.tokens * width);
    const memory = this.#layer(layer);
    const tables = attention.groups[memory.group]!;
    for (let i = 0; i < attention.batch; i++) {
      const begin = attention.cumulativeLengths[i]!;
      const end = attention.cumulativeLengths[i + 1]!;
      for (let token = begin; token < end; token++) {
        const context = attention.pastLengths[i]! + (token - begin) + 1;
        const slots = this.#slots(tables, attention.rows[i]!, context);
        for (let head = 0; head < queryHeads; head++) {
          const at = token * width + head * headDim;
          const kvHead = Math.floor(head / this.shape.headsPerKv);
          const row = query.subarray(at, at + headDim);
          this.#attendHead(memory, kvHead, slots, row, output.subarray(at, at + headDim));
        }
      }
    }
    return output;
  }

  /** The slots of a sequence's first `context` tokens. */
  #slots(tables: GroupTables, row: number, context: number): Uint32Array {
    const { blockSize, maxBlocksPerSequence } = this.#cache.layout;
    const slots = new Uint32Array(context);
    for (let position = 0; position < context; position++) {
      const cell = row * maxBlocksPerSequence + Math.floor(position / blockSize);
      slots[position] = tables.blockTable[cell]! * blockSize + (position % blockSize);
    }
    return slots;
  }

  #attendHead(
    memory: Layer,
    kvHead: number,
    slots: Uint32Array,
    query: Float32Array,
    output: Float32Array,
  ): void {
    const { kvHeads, headDim, scale } = this.shape;
    const key = reader(memory.key);
    const value = reader(memory.value);
    const weights = new Float64Array(slots.length);
    for (let j = 0; j < slots.length; j++) {
      const at = (slots[j]! * kvHeads + kvHead) * headDim;
      let dot = 0;
      for (let d = 0; d < headDim; d++) dot += query[d]! * key(at + d);
      weights[j] = dot * scale;
    }
    const sum = toWeights(weights);
    const mean = new Float64Array(headDim);
    for (let j = 0; j < slots.length; j++) {
      const at = (slots[j]! * kvHeads + kvHead) * headDim;
      for (let d = 0; d < headDim; d++) mean[d]! += weights[j]! * value(at + d);
    }
    for (let d = 0; d < headDim; d++) output[d] = mean[d]! / sum;
  }

  #layer(layer: number): Layer {
    const known = this.#layers.get(layer);
    if (known !== undefined) return known;
    const group = groupOfLayer(this.#cache.layout, layer);
    const made = { group, key: this.#cache.key(layer), value: this.#cache.value(layer) };
    this.#layers.set(layer, made);
    return made;
  }
}

/** Scores to weights of a softmax, in place and not yet divided by their sum, which is returned. */
function toWeights(scores: Float64Array): number {
  let best = -Infinity;
  for (const score of scores) best = Math.max(best, score);
  let sum = 0;
  for (let j = 0; j < scores.length; j++) {
    scores[j] = Math.exp(scores[j]! - best);
    sum += scores[j]!;
  }
  return sum;
}

function reader(memory: PlaneView): (index: number) => number {
  if (memory instanceof Float32Array) return (index) => memory[index]!;
  const values = halfValues();
  return (index) => values[memory[index]!]!;
}

function store(memory: PlaneView, offset: number, values: Float32Array): void {
  if (memory instanceof Float32Array) {
    memory.set(values, offset);
    return;
  }
  for (let d = 0; d < values.length; d++) memory[offset + d] = toHalf(values[d]!);
}

function checkLength(name: string, values: Float32Array, expected: number): void {
  if (values.length === expected) return;
  throw new PagedKvError(
    'ATTENTION_SHAPE',
    `${name} has ${values.length} elements and the step takes ${expected}`,
  );
}
