import { describe, expect, it } from 'vitest';
import { KvCacheManager, type KvCacheManagerOptions } from '../src/index.js';
import { coded, MODEL, smallManager } from './api.helpers.js';

const GOOD = { model: MODEL, device: { blocks: 16 } };
const PLANE = { layer: 0, name: 'key', bytesPerToken: 32 };
const GROUP = { name: 'all', kind: 'full', planes: [PLANE] };

function make(options: unknown): KvCacheManager {
  return new KvCacheManager(options as KvCacheManagerOptions);
}

describe('options that cannot be', () => {
  it.each([
    ['nothing', undefined, 'INVALID_OPTION', /manager must be an object, got undefined/],
    ['null', null, 'INVALID_OPTION', /got null/],
    ['an array', [], 'INVALID_OPTION', /got an array/],
    ['no device', { model: MODEL }, 'INVALID_OPTION', /device must be an object/],
    ['no model', { device: { blocks: 1 } }, 'INVALID_OPTION', /either 'model' or 'groups'/],
    ['model and groups', { ...GOOD, groups: [GROUP] }, 'INVALID_OPTION', /either 'model' or/],
    ['a misspelling', { ...GOOD, blocksize: 16 }, 'UNKNOWN_OPTION', /did you mean 'blockSize'\?/],
    ['a typing error', { ...GOOD, maxSequnces: 4 }, 'UNKNOWN_OPTION', /mean 'maxSequences'\?/],
    ['a stranger', { ...GOOD, colour: 'red' }, 'UNKNOWN_OPTION', /'colour': the manager knows mod/],
    ['a zero', { ...GOOD, blockSize: 0 }, 'INVALID_OPTION', /blockSize .* from 1 to 1024, got 0/],
    ['a negative number', { ...GOOD, maxSequences: -1 }, 'INVALID_OPTION', /got -1/],
    ['a fraction', { ...GOOD, maxOpenSteps: 1.5 }, 'INVALID_OPTION', /got 1.5/],
    ['NaN', { ...GOOD, maxSequenceTokens: NaN }, 'INVALID_OPTION', /got NaN/],
    ['infinity', { ...GOOD, maxBatchTokens: Infinity }, 'INVALID_OPTION', /got Infinity/],
    ['a huge number', { ...GOOD, maxSequences: 2 ** 53 }, 'INVALID_OPTION', /maxSequences/],
    ['a bigint', { ...GOOD, blockSize: 16n }, 'INVALID_OPTION', /got 16n/],
    ['a string', { ...GOOD, blockSize: '16' }, 'INVALID_OPTION', /got '16'/],
    ['a null limit', { ...GOOD, blockSize: null }, 'INVALID_OPTION', /got null/],
    ['a large block', { ...GOOD, blockSize: 1025 }, 'INVALID_OPTION', /got 1025/],
    ['no open steps', { ...GOOD, maxOpenSteps: 0 }, 'INVALID_OPTION', /maxOpenSteps/],
    ['many open steps', { ...GOOD, maxOpenSteps: 17 }, 'INVALID_OPTION', /from 1 to 16/],
    [
      'a batch larger than its sequences',
      { ...GOOD, maxSequences: 4, maxBatchSequences: 5 },
      'INVALID_OPTION',
      /maxBatchSequences .* from 1 to 4/,
    ],
    [
      'a part larger than a block',
      { ...GOOD, blockSize: 8, minPartialTokens: 9 },
      'INVALID_OPTION',
      /minPartialTokens .* from 1 to 8/,
    ],
    ['a word for a flag', { ...GOOD, alwaysWrites: 'no' }, 'INVALID_OPTION', /true or false/],
    [
      'a strange mode',
      { ...GOOD, host: { blocks: 1, mode: 'both' } },
      'INVALID_OPTION',
      /host.mode/,
    ],
    ['a strange write', { ...GOOD, host: { blocks: 1, write: 1 } }, 'INVALID_OPTION', /host.write/],
    [
      'a mode of the device',
      { ...GOOD, device: { blocks: 1, mode: 'inclusive' } },
      'UNKNOWN_OPTION',
      /mode/,
    ],
    ['no size', { ...GOOD, device: {} }, 'INVALID_OPTION', /device needs either/],
    ['two sizes', { ...GOOD, device: { blocks: 1, bytes: 9 } }, 'INVALID_OPTION', /needs either/],
    ['no blocks', { ...GOOD, device: { blocks: 0 } }, 'INVALID_OPTION', /device.blocks/],
    ['too many blocks', { ...GOOD, device: { blocks: 2 ** 24 + 1 } }, 'INVALID_OPTION', /16777216/],
    [
      'too few bytes',
      { ...GOOD, device: { bytes: 2047 } },
      'INVALID_OPTION',
      /is 0 blocks of 2048/,
    ],
    [
      'too many bytes',
      { ...GOOD, device: { bytes: 2 ** 50 } },
      'INVALID_OPTION',
      /a pool has from/,
    ],
    ['an empty host', { ...GOOD, host: { blocks: 0 } }, 'INVALID_OPTION', /host.blocks/],
    ['a host in gigabytes', { ...GOOD, host: { GiB: 4 } }, 'UNKNOWN_OPTION', /host knows blocks/],
    ['no layers', { ...GOOD, model: { ...MODEL, layers: 0 } }, 'INVALID_OPTION', /model.layers/],
    [
      'a strange type',
      { ...GOOD, model: { ...MODEL, dtype: 'f64' } },
      'INVALID_OPTION',
      /model.dtype must be 'f32' or 'f16', got 'f64'/,
    ],
    [
      'no groups',
      { groups: [], device: { blocks: 1 } },
      'INVALID_OPTION',
      /groups must be an array/,
    ],
    [
      'a group of another kind',
      { groups: [{ ...GROUP, kind: 'ring' }], device: { blocks: 1 } },
      'INVALID_OPTION',
      /groups\[0\].kind must be 'full' or 'sliding' or 'chunked'/,
    ],
    [
      'a first group that does not read all',
      { groups: [{ ...GROUP, kind: 'sliding', window: 8 }], device: { blocks: 1 } },
      'INVALID_OPTION',
      /the first of the groups must be of kind 'full'/,
    ],
    [
      'a window of a group that reads all',
      { groups: [{ ...GROUP, window: 8 }], device: { blocks: 1 } },
      'INVALID_OPTION',
      /groups\[0\] of kind 'full' takes no 'window'/,
    ],
    [
      'a sliding group without a window',
      { groups: [GROUP, { ...GROUP, name: 'near', kind: 'sliding' }], device: { blocks: 1 } },
      'INVALID_OPTION',
      /groups\[1\].window/,
    ],
    [
      'a host tier with groups that give back what lies behind',
      { ...GOOD, model: { ...MODEL, local: { layers: [0], window: 8 } }, host: { blocks: 1 } },
      'INVALID_OPTION',
      /leave 'host' out/,
    ],
    [
      'a model whose layers are all local',
      { ...GOOD, model: { ...MODEL, local: { layers: [1, 0], window: 8 } } },
      'INVALID_OPTION',
      /at least one layer must read all/,
    ],
    [
      'local layers that are neither',
      { ...GOOD, model: { ...MODEL, local: { layers: [0] } } },
      'INVALID_OPTION',
      /needs either 'window' or 'chunk'/,
    ],
    [
      'local layers without a chance to take back',
      { ...GOOD, model: { ...MODEL, local: { layers: [0], chunk: 8, rollback: 0 } } },
      'INVALID_OPTION',
      /model.local.rollback/,
    ],
    [
      'two groups of a name',
      { groups: [GROUP, GROUP], device: { blocks: 1 } },
      'INVALID_OPTION',
      /groups has 'all' twice/,
    ],
    [
      'two planes of a name',
      { groups: [{ ...GROUP, planes: [PLANE, PLANE] }], device: { blocks: 1 } },
      'INVALID_OPTION',
      /groups\[0\].planes has 'key of layer 0' twice/,
    ],
    [
      'a plane without bytes',
      { groups: [{ ...GROUP, planes: [{ ...PLANE, bytesPerToken: 0 }] }], device: { blocks: 1 } },
      'INVALID_OPTION',
      /groups\[0\].planes\[0\].bytesPerToken/,
    ],
    [
      'tables larger than the machine',
      { ...GOOD, blockSize: 1, maxSequences: 2 ** 20, maxSequenceTokens: 2 ** 28 },
      'OUT_OF_MEMORY',
      /give fewer blocks, or a smaller maxSequences/,
    ],
    [
      'tables larger than one memory can be',
      { ...GOOD, blockSize: 1, maxSequences: 2 ** 10, maxSequenceTokens: 2 ** 21 },
      'OUT_OF_MEMORY',
      /at most 4096/,
    ],
  ] as const)('%s is refused', (_, options, code, message) => {
    expect(() => make(options)).toThrow(coded(code));
    expect(() => make(options)).toThrow(message);
  });

  it('a getter that throws passes its error on, and one that changes its mind is read once', () => {
    const failure = new Error('of the getter');
    const throwing = {
      ...GOOD,
      get blockSize(): number {
        throw failure;
      },
    };
    expect(() => make(throwing)).toThrow(failure);

    let reads = 0;
    const changing = {
      ...GOOD,
      get blockSize() {
        reads += 1;
        return reads === 1 ? 8 : -1;
      },
    };
    using kv = make(changing);
    expect(kv.layout.blockSize).toBe(8);
    expect(reads).toBe(1);
  });
});

describe('the layout', () => {
  it('of a model is one group of keys and values', () => {
    using kv = make({ ...GOOD, host: { blocks: 3 } });
    expect(kv.layout).toMatchObject({
      blockSize: 16,
      maxSequences: 256,
      maxBlocksPerSequence: 2048,
    });
    expect(kv.layout.model).toEqual(MODEL);
    expect(kv.layout.groups).toEqual([
      {
        name: 'full',
        kind: 'full',
        deviceBlocks: 16,
        hostBlocks: 3,
        planes: [
          { layer: 0, name: 'key', bytesPerToken: 32 },
          { layer: 0, name: 'value', bytesPerToken: 32 },
          { layer: 1, name: 'key', bytesPerToken: 32 },
          { layer: 1, name: 'value', bytesPerToken: 32 },
        ],
      },
    ]);
  });

  it('has as many whole blocks of all groups as the bytes hold', () => {
    const planes = [PLANE, { ...PLANE, name: 'value' }];
    const groups = [
      { ...GROUP, planes },
      { name: 'latent', kind: 'full', planes: [{ ...PLANE, bytesPerToken: 4 }] },
    ];
    const blockBytes = (32 + 32 + 4) * 16;
    using kv = make({ groups, device: { bytes: 5 * blockBytes - 1 }, host: { bytes: blockBytes } });
    expect(kv.layout.model).toBeUndefined();
    expect(kv.layout.groups.map((group) => [group.deviceBlocks, group.hostBlocks])).toEqual([
      [4, 1],
      [4, 1],
    ]);
  });

  it('is frozen, and does not follow the objects that it was made from', () => {
    const planes = [{ ...PLANE }];
    using kv = make({ groups: [{ ...GROUP, planes }], device: { blocks: 1 } });
    planes[0]!.bytesPerToken = 1;
    planes.push(PLANE);
    expect(kv.layout.groups[0]!.planes).toEqual([PLANE]);
    expect(Object.isFrozen(kv.layout)).toBe(true);
    expect(Object.isFrozen(kv.layout.groups[0])).toBe(true);
  });
});

describe('managers', () => {
  it('are made and closed by the thousand without keeping memory', () => {
    const make100 = () => {
      for (let i = 0; i < 100; i++) smallManager({ device: { blocks: 4096 } }).close();
      gc!();
    };
    make100();
    const before = process.memoryUsage.rss();
    for (let round = 0; round < 10; round++) make100();
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 2 ** 20);
  });
});
