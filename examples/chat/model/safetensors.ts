/**
 * Reads tensors from a safetensors file: the header's length in 8 bytes, the header in JSON, the tensors'
 * bytes. The whole file is held in memory.
 */
import { readInput, UsageError } from '../usage.js';

interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** A tensor widened to f32; a matrix is `[outputs, inputs]`. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

const bytesPerElement: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2 };

/** Tensor names to tensors, widened to f32 as they are asked for. */
export class SafetensorsFile {
  readonly #path: string;
  readonly #bytes: Buffer;
  readonly #dataStart: number;
  readonly #entries: ReadonlyMap<string, TensorEntry>;

  constructor(path: string) {
    this.#path = path;
    this.#bytes = readInput(path);
    if (this.#bytes.length < 8) throw this.error('too short for a header');
    const headerBytes = Number(this.#bytes.readBigUInt64LE(0));
    this.#dataStart = 8 + headerBytes;
    if (this.#dataStart > this.#bytes.length) {
      throw this.error(
        `its header claims ${headerBytes} bytes, the file has ${this.#bytes.length}`,
      );
    }
    this.#entries = this.#parseHeader(this.#bytes.toString('utf8', 8, this.#dataStart));
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  names(): string[] {
    return [...this.#entries.keys()];
  }

  shape(name: string): readonly number[] {
    return this.#entry(name).shape;
  }

  /** Throws unless the tensor is there, of a known type, and of the shape expected. */
  read(name: string, shape: readonly number[]): Tensor {
    const entry = this.#entry(name);
    if (entry.shape.join() !== shape.join()) {
      throw this.error(`${name} is [${entry.shape.join(', ')}], expected [${shape.join(', ')}]`);
    }
    const size = bytesPerElement[entry.dtype];
    if (size === undefined)
      throw this.error(`${name} is ${entry.dtype}; F32, F16 and BF16 can be read`);
    const elements = shape.reduce((product, length) => product * length, 1);
    const [begin, end] = entry.data_offsets;
    const available = this.#bytes.length - this.#dataStart;
    if (!(begin >= 0 && end - begin === elements * size && end <= available)) {
      throw this.error(
        `${name} has bytes ${begin} to ${end} of ${available}, needs ${elements * size}`,
      );
    }
    const bytes = this.#bytes.subarray(this.#dataStart + begin, this.#dataStart + end);
    return { shape, data: widen(bytes, entry.dtype, elements) };
  }

  error(message: string): UsageError {
    return new UsageError(`${this.#path}: ${message}`);
  }

  #entry(name: string): TensorEntry {
    const entry = this.#entries.get(name);
    if (!entry) throw this.error(`there is no tensor ${name}`);
    return entry;
  }

  #parseHeader(text: string): Map<string, TensorEntry> {
    let header: unknown;
    try {
      header = JSON.parse(text);
    } catch {
      throw this.error('its header is not JSON; is it a safetensors file?');
    }
    const entries = new Map<string, TensorEntry>();
    for (const [name, entry] of Object.entries(header as Record<string, unknown>)) {
      if (name === '__metadata__') continue;
      if (!isEntry(entry)) throw this.error(`the header's entry for ${name} is malformed`);
      entries.set(name, entry);
    }
    return entries;
  }
}

function isEntry(value: unknown): value is TensorEntry {
  if (typeof value !== 'object' || value === null) return false;
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>;
  const numbers = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every(Number.isSafeInteger);
  return typeof dtype === 'string' && numbers(shape) && numbers(offsets) && offsets.length === 2;
}

function widen(bytes: Buffer, dtype: string, elements: number): Float32Array {
  const out = new Float32Array(elements);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dtype === 'F32') {
    for (let i = 0; i < elements; i++) out[i] = view.getFloat32(i * 4, true);
  } else if (dtype === 'F16') {
    for (let i = 0; i < elements; i++) out[i] = halfToNumber(view.getUint16(i * 2, true));
  } else {
    const bits = new Uint32Array(out.buffer);
    for (let i = 0; i < elements; i++) bits[i] = view.getUint16(i * 2, true) << 16;
  }
  return out;
}

function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
