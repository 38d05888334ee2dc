/// <reference types="@webgpu/types" />
/**
 * Bind groups over pairs of the engine's own buffers. An engine uses the same few again and again, so each
 * pair is bound once, and forgotten when its first buffer is collected.
 */

interface Entry {
  readonly firstOffset: number;
  readonly firstSize: number | undefined;
  readonly second: GPUBuffer;
  readonly secondOffset: number;
  readonly secondSize: number | undefined;
  readonly bindGroup: GPUBindGroup;
}

/** Beyond this an engine is allocating as it goes, and searching would cost more than binding anew. */
const MAX_ENTRIES = 64;

export class BindGroupCache {
  readonly #device: GPUDevice;
  readonly #layout: GPUBindGroupLayout;
  readonly #entries = new WeakMap<GPUBuffer, Entry[]>();

  constructor(device: GPUDevice, layout: GPUBindGroupLayout) {
    this.#device = device;
    this.#layout = layout;
  }

  /** The bind group with `first` at binding 0 and `second` at binding 1. */
  get(first: GPUBufferBinding, second: GPUBufferBinding): GPUBindGroup {
    let entries = this.#entries.get(first.buffer);
    if (entries === undefined) {
      entries = [];
      this.#entries.set(first.buffer, entries);
    }
    for (const entry of entries) {
      if (isFor(entry, first, second)) return entry.bindGroup;
    }
    const made = this.#create(first, second);
    if (entries.length === MAX_ENTRIES) entries.shift();
    entries.push(made);
    return made.bindGroup;
  }

  #create(first: GPUBufferBinding, second: GPUBufferBinding): Entry {
    return {
      firstOffset: first.offset ?? 0,
      firstSize: first.size,
      second: second.buffer,
      secondOffset: second.offset ?? 0,
      secondSize: second.size,
      bindGroup: this.#device.createBindGroup({
        layout: this.#layout,
        entries: [
          { binding: 0, resource: first },
          { binding: 1, resource: second },
        ],
      }),
    };
  }
}

function isFor(entry: Entry, first: GPUBufferBinding, second: GPUBufferBinding): boolean {
  return (
    entry.second === second.buffer &&
    entry.firstOffset === (first.offset ?? 0) &&
    entry.secondOffset === (second.offset ?? 0) &&
    entry.firstSize === first.size &&
    entry.secondSize === second.size
  );
}
