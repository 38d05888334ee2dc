/// <reference types="@webgpu/types" />
/** Whether neighbours of a workgroup are neighbours in a subgroup: usual, but nothing in WebGPU says so. */
import { BufferUsage, MAP_MODE_READ } from '../device/flags.js';
import { WORD_BYTES } from '../words.js';

const PROBED = 128;
const MAX_TEAM = 32;

const PROBE = /* wgsl */ `
enable subgroups;
@group(0) @binding(0) var<storage, read_write> seen: array<u32>;
@compute @workgroup_size(${PROBED})
fn main(@builtin(local_invocation_index) thread: u32) {
  var distance = 1u;
  var reach = 1u;
  for (var step = 0u; step < ${Math.log2(MAX_TEAM)}u; step++) {
    if (subgroupShuffleXor(thread, distance) == (thread ^ distance) && reach == distance) { reach = distance * 2u; }
    distance *= 2u;
  }
  seen[thread] = reach;
}
`;

const teams = new WeakMap<GPUDevice, Promise<number>>();

/**
 * The most invocations, a power of two up to 32, that follow one another and are sure to be in one subgroup of any
 * kernel; 1 where the device has no subgroups. Runs a small kernel once a device.
 */
export function subgroupTeam(device: GPUDevice): Promise<number> {
  let team = teams.get(device);
  if (team === undefined) {
    team = probe(device);
    teams.set(device, team);
  }
  return team;
}

async function probe(device: GPUDevice): Promise<number> {
  const least = leastSize(device.adapterInfo);
  if (!device.features.has('subgroups') || least <= 1) return 1;
  const seen = await runProbe(device);
  return Math.min(least, MAX_TEAM, ...seen);
}

/** Of any kernel's subgroups. Older implementations do not tell: taken for none. */
function leastSize(info: GPUAdapterInfo | undefined): number {
  return info?.subgroupMinSize ?? 1;
}

async function runProbe(device: GPUDevice): Promise<Uint32Array> {
  const label = 'pagedkv subgroup probe';
  const module = device.createShaderModule({ label, code: PROBE });
  const pipeline = await device.createComputePipelineAsync({
    label,
    layout: 'auto',
    compute: { module },
  });
  const size = PROBED * WORD_BYTES;
  const seen = device.createBuffer({ size, usage: BufferUsage.STORAGE | BufferUsage.COPY_SRC });
  const read = device.createBuffer({ size, usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST });
  try {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    const entries = [{ binding: 0, resource: { buffer: seen } }];
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }),
    );
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(seen, 0, read, 0, size);
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(MAP_MODE_READ);
    return new Uint32Array(read.getMappedRange()).slice();
  } finally {
    seen.destroy();
    read.destroy();
  }
}
