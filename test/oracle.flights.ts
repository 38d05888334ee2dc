/** Stories of what becomes of blocks in flight when those who hold them go, and of flights that fail. */
import { expect, it } from 'vitest';
import type { Stats } from '../src/index.js';
import type { Faults } from './oracle.faults.js';
import type { Oracle } from './oracle.js';
import type { MakeMemory } from './oracle.program.js';
import { append, chat, makeOracle, mustSchedule, swapOut, text } from './oracle.scenarios.js';

function faultsOf(oracle: Oracle): Faults {
  const { faults } = oracle.memory;
  if (faults === undefined) throw new Error('this memory has no faults');
  return faults;
}

/** Blocks that somebody holds, or that are under way, on either tier. */
function inUse({ device, host }: Stats): number {
  return device.held + device.inFlight + host.held + host.inFlight;
}

async function letLand(oracle: Oracle): Promise<void> {
  faultsOf(oracle).release();
  await oracle.underWay.settle();
  await oracle.check();
}

export function itLeaksNothingInFlight(make: MakeMemory): void {
  it('lets a sequence close while its blocks are on their way out', async () => {
    using oracle = await makeOracle(make);
    const sequence = await chat(oracle, text(1, 18));
    faultsOf(oracle).hold();
    void oracle.startTransfer(oracle.swapOut(sequence)!);
    oracle.close(sequence);
    await oracle.check();
    await letLand(oracle);
    expect(inUse(oracle.kv.stats())).toBe(0);
    oracle.clear();
    const { device, host } = oracle.kv.stats();
    expect([device.free, host.free]).toEqual([device.total, host.total]);
  });

  it('lets a sequence close while the step that brings it back is under way', async () => {
    using oracle = await makeOracle(make);
    const sequence = await chat(oracle, text(1, 18));
    await swapOut(oracle, sequence);
    const step = mustSchedule(oracle, sequence, [5]);
    faultsOf(oracle).hold();
    const executed = oracle.execute(step);
    oracle.close(sequence);
    faultsOf(oracle).release();
    await executed;
    oracle.commit(step);
    await oracle.check();
    expect(inUse(oracle.kv.stats())).toBe(0);
  });

  it('refuses to abort a step while its blocks come in, and loses nothing once it was cancelled', async () => {
    using oracle = await makeOracle(make);
    const sequence = await chat(oracle, text(1, 18));
    await swapOut(oracle, sequence);
    const step = mustSchedule(oracle, sequence, [5]);
    faultsOf(oracle).hold();
    const executed = oracle.execute(step);
    await new Promise((resume) => setTimeout(resume, 0));
    expect(oracle.abort(step)).toBe(false);
    oracle.underWay.executions[0]!.cancel();
    faultsOf(oracle).release();
    await executed;
    expect(step.stage).toBe('failed');
    expect(oracle.abort(step)).toBe(true);
    expect(sequence.handle.state).toBe('swapped');
    await oracle.check();
    await append(oracle, sequence, [5]);
  });

  it('brings nothing back of a swap-out that failed, as nothing left', async () => {
    using oracle = await makeOracle(make);
    const sequence = await chat(oracle, text(1, 18));
    faultsOf(oracle).failing = 1;
    await swapOut(oracle, sequence);
    const { failedTransfers, swappedOutBlocks, host } = oracle.kv.stats();
    expect([failedTransfers, swappedOutBlocks, host.free]).toEqual([5, 0, host.total]);
    const step = mustSchedule(oracle, sequence, [5]);
    expect(step.moves.onboards).toHaveLength(0);
    await oracle.execute(step);
    oracle.commit(step);
    await oracle.check();
  });

  it('counts as evicted what it could not offload, and goes on', async () => {
    using oracle = await makeOracle(make);
    oracle.close(await chat(oracle, text(1, 24)));
    oracle.close(await chat(oracle, text(2, 24)));
    const sequence = oracle.open(text(3, 24));
    const step = mustSchedule(oracle, sequence, text(3, 24));
    expect(step.moves.offloads).toHaveLength(6 * 3);
    faultsOf(oracle).failing = 1;
    await oracle.execute(step);
    expect(step.stage).toBe('failed');
    oracle.abort(step);
    await oracle.check();
    const { evictions, host } = oracle.kv.stats();
    expect([evictions, host.free]).toEqual([6, host.total]);
    await append(oracle, sequence, text(3, 24));
  });

  it('keeps one host copy of what forks share when one of them closes on its way out', async () => {
    using oracle = await makeOracle(make);
    const first = await chat(oracle, text(1, 18));
    const second = oracle.fork(first);
    expect(await swapOut(oracle, first)).toBe(0);
    faultsOf(oracle).hold();
    void oracle.startTransfer(oracle.swapOut(second)!);
    oracle.close(first);
    await letLand(oracle);
    expect(oracle.kv.stats().host.held).toBe(5);
    await append(oracle, second, [8]);
  });

  it.each([
    ['well', 0, { code: 'MANAGER_CLOSED' }],
    ['badly', Infinity, { message: 'made to fail' }],
  ])(
    'settles executions whose manager was closed meanwhile, and that end %s',
    async (_, failing, reason) => {
      using oracle = await makeOracle(make);
      const [first, second] = [await chat(oracle, text(1, 18)), await chat(oracle, text(2, 10))];
      await swapOut(oracle, first);
      const [out, step] = [oracle.kv.preempt(second.handle), mustSchedule(oracle, first, [5])];
      if (!out.ok) throw new Error('no room on the host');
      faultsOf(oracle).hold();
      const executions = [out, step.handle].map((work) => oracle.memory.cache.execute(work));
      oracle.kv.close();
      faultsOf(oracle).failing = failing;
      faultsOf(oracle).release();
      const results = await Promise.allSettled(executions);
      faultsOf(oracle).failing = 0;
      expect(results).toMatchObject([{ reason }, { reason }]);
    },
  );
}
