import { describe, expect, it } from 'vitest';
import { parseOptions } from '../examples/chat/options.js';
import { LiveLine } from '../examples/chat/progress.js';
import { isVerified, toJson, toTable, type Outcome } from '../examples/chat/report.js';
import { run } from '../examples/chat/run.js';
import { describeOnGpu } from './device.gpu.js';

const silent = new LiveLine({ write: () => true });

function chat(...args: string[]): Promise<Outcome> {
  return run(parseOptions(args)!, () => undefined, silent);
}

describe('chats over the manager on the host', () => {
  it('are those of contiguous caches, through sharing, eviction, swaps, preemption and aborts', async () => {
    const outcome = await chat('--device', 'host', '--host-blocks', '8');
    expect(outcome.comparison).toMatchObject({
      differentTokens: 0,
      logitDistance: 0,
      tokens: 1200,
    });
    expect(toTable(outcome)).toContain('verified: all 1200 tokens');
    const json = toJson(outcome);
    const counters = [
      'prefixHitTokens',
      'copyOnWrites',
      'forks',
      'evictions',
      'offloadedBlocks',
      'onboardedBlocks',
      'swappedOutBlocks',
      'swappedInBlocks',
      'preemptions',
      'drops',
      'aborts',
      'transfers',
      'onboardedAheadBlocks',
      'transferSecondsBesidePasses',
    ];
    for (const counter of counters)
      expect(json, counter).toHaveProperty(counter, expect.any(Number));
    expect(counters.filter((counter) => json[counter] === 0)).toEqual([]);
    expect(json.peakBytes).toBeLessThan(json.contiguousBytes as number);
  });

  it('move blocks beside the passes, to the host and back', async () => {
    const { transfers, memory, stats, ...outcome } = await chat('--device', 'host');
    const { device, host } = stats;
    expect([device.held, device.inFlight, host.held, host.inFlight]).toEqual([0, 0, 0, 0]);
    expect(transfers.failed).toBe(0);
    expect(transfers.outBlocks).toBeGreaterThanOrEqual(stats.swappedOutBlocks);
    expect(transfers.inBlocks).toBeGreaterThanOrEqual(stats.onboardedBlocks);
    expect(transfers.besideSeconds).toBeLessThanOrEqual(transfers.seconds);
    const table = toTable({ transfers, memory, stats, ...outcome });
    expect(table).toMatch(/moved out +\d+ blocks, \d+ KiB swapped out/);
    expect(table).toMatch(
      /transfers +\d+, under way for \d+ ms in all, \d+\.\d % of it beside passes/,
    );
    expect(table).not.toContain('made to fail');
  });

  it.each([1, 2, 3, 4])(
    'are those of contiguous caches while transfers fail (seed %i)',
    async (seed) => {
      const few = ['--chats', '6', '--turns', '2', '--seed', `${seed}`];
      const outcome = await chat('--device', 'host', ...few, '--fail-transfers', '0.3');
      expect(outcome.comparison).toMatchObject({ differentTokens: 0, logitDistance: 0 });
      expect(outcome.transfers.failed).toBeGreaterThan(0);
      expect(outcome.stats.failedTransfers).toBeGreaterThan(0);
      expect(outcome.pieces.failed).toBeLessThan(outcome.pieces.pieces);
      expect(toTable(outcome)).toMatch(/made to fail +\d+ of \d+ pieces of transfers/);
    },
  );

  it('draw the same tokens in every run with the same seed', async () => {
    const tokens = async (seed: string): Promise<unknown> => {
      const { replies } = await chat(
        '--device',
        'host',
        '--chats',
        '4',
        '--turns',
        '2',
        '--seed',
        seed,
      );
      return replies.map(({ chat, turn, sample, draws }) => [chat, turn, sample, draws]).sort();
    };
    const first = await tokens('5');
    expect(await tokens('5')).toEqual(first);
    expect(await tokens('6')).not.toEqual(first);
  });

  it.each(['1', '2', '3'])('differ once a slot was overwritten (seed %s)', async (seed) => {
    const outcome = await chat(
      '--device',
      'host',
      '--chats',
      '3',
      '--turns',
      '1',
      '--corrupt',
      '--seed',
      seed,
    );
    expect(isVerified(outcome)).toBe(false);
    expect(toTable(outcome)).toContain('DIFFERENT');
  });

  it.each([
    ['--block-size', '1', '--samples', '3'],
    ['--block-size', '7', '--batch-tokens', '5'],
    ['--samples', '1', '--abort-every', '2'],
    ['--host-blocks', '0'],
    ['--new-tokens', '1', '--abort-every', '0'],
  ])('hold with %s %s %s %s', async (...args) => {
    const outcome = await chat(
      '--device',
      'host',
      '--chats',
      '4',
      '--turns',
      '2',
      '--new-tokens',
      '6',
      ...args,
    );
    expect(outcome.comparison).toMatchObject({ differentTokens: 0, logitDistance: 0 });
  });

  it('ask for more where a single chat does not fit', async () => {
    await expect(chat('--device', 'host', '--device-blocks', '4')).rejects.toThrow(
      '--device-blocks',
    );
  });
});

await describeOnGpu('chats over the manager on a GPU', () => {
  const few = ['--device', 'webgpu', '--chats', '2', '--turns', '2', '--new-tokens', '4'];

  it('are those of contiguous caches', async () => {
    const outcome = await chat(...few);
    expect(outcome.comparison).toMatchObject({ differentTokens: 0, tokens: 32 });
    expect(outcome.comparison.logitDistance).toBeLessThan(1e-4);
  }, 120_000);

  it.each([1, 2])(
    'are those of contiguous caches while transfers fail (seed %i)',
    async (seed) => {
      const many = ['--chats', '4', '--turns', '2', '--new-tokens', '6', '--seed', `${seed}`];
      const outcome = await chat('--device', 'webgpu', ...many, '--fail-transfers', '0.3');
      expect(outcome.comparison.differentTokens).toBe(0);
      expect(outcome.transfers.failed).toBeGreaterThan(0);
    },
    120_000,
  );

  it('differ once a slot was overwritten', async () => {
    expect(isVerified(await chat(...few, '--corrupt'))).toBe(false);
  }, 120_000);
});
