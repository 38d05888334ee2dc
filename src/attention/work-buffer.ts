/// <reference types="@webgpu/types" />
/** The work of a step on the GPU, planned and uploaded once a step however many layers attend. */
import { BufferUsage } from '../device/flags.js';
import type { StepTables } from '../device/tables.js';
import { Work, type WorkSizes } from './work.js';
import type { Rules } from './visibility.js';

export class WorkBuffer {
  readonly work: Work;
  readonly #device: GPUDevice;
  readonly #layout: GPUBindGroupLayout;
  #buffer: GPUBuffer;
  #bindGroup: GPUBindGroup;
  /** Of the step that was planned last. */
  #uploads = -1;

  constructor(device: GPUDevice, layout: GPUBindGroupLayout, rules: Rules, sizes: WorkSizes) {
    this.work = new Work(rules, sizes);
    this.#device = device;
    this.#layout = layout;
    this.#buffer = this.#createBuffer();
    this.#bindGroup = this.#bind();
  }

  /** To bind for a pass over the step whose tables were uploaded last. O(batch + items) once a step. */
  of(tables: StepTables): GPUBindGroup {
    if (this.#uploads === tables.uploads) return this.#bindGroup;
    this.#uploads = tables.uploads;
    this.work.plan(tables.words);
    const { words, length } = this.work;
    if (words.byteLength > this.#buffer.size) this.#replace();
    this.#device.queue.writeBuffer(this.#buffer, 0, words, 0, length);
    return this.#bindGroup;
  }

  destroy(): void {
    this.#buffer.destroy();
  }

  #replace(): void {
    this.#buffer.destroy();
    this.#buffer = this.#createBuffer();
    this.#bindGroup = this.#bind();
  }

  #createBuffer(): GPUBuffer {
    return this.#device.createBuffer({
      label: 'pagedkv work',
      size: this.work.words.byteLength,
      usage: BufferUsage.STORAGE | BufferUsage.COPY_DST,
    });
  }

  #bind(): GPUBindGroup {
    return this.#device.createBindGroup({
      label: 'pagedkv work',
      layout: this.#layout,
      entries: [{ binding: 0, resource: { buffer: this.#buffer } }],
    });
  }
}
