import { describe, expect, it } from 'vitest';
import { HostAttention } from '../src/attention/host.js';
import type { AttentionOptions } from '../src/attention/shape.js';
import { HostCache, poisonBlocks } from '../src/device/host.js';
import { AttentionCase, LAYER, nameOf, shapes, type CaseShape } from './attention.cases.js';
import { relativeL2 } from './attention.naive.js';
import { modelLayout, oddLayout } from './device.fakes.js';
import { Random, replay } from './device.random.js';

/** Writes what was before and what is new, then attends; all memory is NaN at first. */
async function attend(paged: AttentionCase): Promise<Float32Array> {
  const cache = new HostCache(paged);
  await poisonBlocks(cache, 0);
  const attention = new HostAttention(cache, { queryHeads: paged.shape.queryHeads });
  attention.write(paged.before, LAYER, paged.past('key'), paged.past('value'));
  attention.write(paged.step, LAYER, paged.fresh('key'), paged.fresh('value'));
  return attention.attend(paged.step, LAYER, paged.query);
}

describe(`attention in host memory (${replay})`, () => {
  const random = new Random('host shapes');
  const all = [...shapes(random, 'f32'), ...shapes(random, 'f16')];
  it.each(all.map((shape) => [nameOf(shape), shape] as const))(
    'agrees with the definition: %s',
    async (_, shape) => {
      const paged = new AttentionCase(shape);
      expect(relativeL2(await attend(paged), paged.expected)).toBeLessThan(1e-6);
    },
  );

  it('reads blocks that sequences share', async () => {
    const shape: CaseShape = {
      headDim: 16,
      kvHeads: 2,
      queryHeads: 4,
      blockSize: 8,
      dtype: 'f32',
      sequences: [
        [30, 3],
        [20, 1],
      ],
    };
    const paged = new AttentionCase(shape);
    paged.share(0, 1, 2);
    expect(relativeL2(await attend(paged), paged.expected)).toBeLessThan(1e-6);
  });

  it('refuses heads that do not divide, and layouts without a model', () => {
    const model = { layers: 1, kvHeads: 2, headDim: 8, dtype: 'f32' } as const;
    const cache = new HostCache({ layout: modelLayout(model, { blockSize: 4, deviceBlocks: 1 }) });
    expect(() => new HostAttention(cache, { queryHeads: 3 })).toThrow(
      expect.objectContaining({ code: 'ATTENTION_SHAPE' }),
    );
    const bare = new HostCache({ layout: oddLayout({ blockSize: 4, deviceBlocks: 1 }) });
    expect(() => new HostAttention(bare, { queryHeads: 2 })).toThrow(
      expect.objectContaining({ code: 'NO_MODEL' }),
    );
  });

  it.each([
    ['a misspelling', { queryHeads: 2, scales: 1 }, 'UNKNOWN_OPTION'],
    ['no query heads', {}, 'INVALID_OPTION'],
    ['a fraction of a head', { queryHeads: 2.5 }, 'INVALID_OPTION'],
    ['NaN', { queryHeads: 2, scale: NaN }, 'INVALID_OPTION'],
    ['a word for a number', { queryHeads: 2, scale: '1' }, 'INVALID_OPTION'],
    ['no options', undefined, 'INVALID_OPTION'],
  ])('refuses %s', (_, options, code) => {
    const model = { layers: 1, kvHeads: 2, headDim: 8, dtype: 'f32' } as const;
    const cache = new HostCache({ layout: modelLayout(model, { blockSize: 4, deviceBlocks: 1 }) });
    expect(() => new HostAttention(cache, options as AttentionOptions)).toThrow(
      expect.objectContaining({ code }),
    );
  });

  it('refuses tensors that are not as long as the step', () => {
    const shape = { headDim: 8, kvHeads: 1, queryHeads: 1, blockSize: 4, dtype: 'f32' } as const;
    const paged = new AttentionCase({ ...shape, sequences: [[3, 2]] });
    const attention = new HostAttention(new HostCache(paged), { queryHeads: 1 });
    const short = new Float32Array(8);
    expect(() => attention.attend(paged.step, LAYER, short)).toThrow(
      expect.objectContaining({ code: 'ATTENTION_SHAPE' }),
    );
  });
});
