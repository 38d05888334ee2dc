/** The kernels against the definition, over random shapes, as each kind of device would have them chosen. */
import { describe, expect, it } from 'vitest';
import type { WebGpuAttentionOptions } from '../src/attention/webgpu.js';
import { AttentionCase, nameOf, shapes, type CaseShape } from './attention.cases.js';
import { attend, Engine, TOLERANCE } from './attention.engine.js';
import { relativeL2 } from './attention.naive.js';
import { describeOnGpu, deviceLike } from './device.gpu.js';
import { Random, replay } from './device.random.js';

async function expectRight(
  device: GPUDevice,
  shape: CaseShape,
  options?: Partial<WebGpuAttentionOptions>,
): Promise<void> {
  const paged = new AttentionCase(shape);
  using engine = await Engine.create(device, paged, options);
  const output = await attend(engine, paged);
  expect(relativeL2(output, paged.expected)).toBeLessThan(TOLERANCE[shape.dtype]);
}

function named(all: readonly CaseShape[]): (readonly [string, CaseShape])[] {
  return all.map((shape) => [nameOf(shape), shape] as const);
}

await describeOnGpu('the kernels', (device) => {
  describe.each(['f32', 'f16'] as const)(`in %s (${replay})`, (dtype) => {
    it.each(named(shapes(new Random('GPU shapes'), dtype)))(
      'agree with the definition: %s',
      (_, shape) => expectRight(device, shape),
    );
  });
});

/** Decoding of many heads, of few and of one, with a long context that is split; and prefill. */
const FEW: readonly CaseShape[] = [
  {
    headDim: 64,
    kvHeads: 2,
    queryHeads: 8,
    blockSize: 16,
    dtype: 'f32',
    sequences: [
      [700, 1],
      [40, 1],
      [20, 30],
    ],
  },
  {
    headDim: 80,
    kvHeads: 1,
    queryHeads: 16,
    blockSize: 8,
    dtype: 'f16',
    sequences: [
      [300, 1],
      [0, 9],
      [600, 3],
    ],
  },
  {
    headDim: 128,
    kvHeads: 2,
    queryHeads: 2,
    blockSize: 32,
    dtype: 'f16',
    sequences: [
      [100, 1],
      [31, 1],
      [0, 33],
    ],
  },
];

const KINDS = {
  'a device without subgroups': deviceLike({ without: ['subgroups', 'shader-f16'] }),
  'a device with the least limits': deviceLike({ leastLimits: true }),
  'a GPU, as far as one can tell': deviceLike({ hardware: true }),
};

for (const [kind, request] of Object.entries(KINDS)) {
  await describeOnGpu(
    `the kernels of ${kind}`,
    (device) => {
      it.each(named(FEW))('agree with the definition: %s', (_, shape) =>
        expectRight(device, shape),
      );
    },
    request,
  );
}
