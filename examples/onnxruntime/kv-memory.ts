/** KV memory in tensors that ONNX Runtime owns, and a host tier beside them: executes pagedkv's plans. */
import { COPY_WORDS, MOVE_WORDS, type CacheLayout, type Executable } from '../../src/index.js';
import {
  blockElements,
  blockShape,
  blocksOf,
  copyGraph,
  gatherGraph,
  planeNames,
  scatterGraph,
  uploadGraph,
  type BlockShape,
} from './kv-graphs.js';
import {
  bitsOf,
  createSession,
  halves,
  ints,
  type InferenceSession,
  type Tensor,
} from './runtime.js';
import { tablesOfBlocks } from './tables.js';

/** What stands where nothing was written: were it ever attended to, every logit would be NaN. */
const NAN = 0x7e00;

interface Sessions {
  readonly upload: InferenceSession;
  readonly gather: InferenceSession;
  readonly scatter: InferenceSession;
  readonly copy: InferenceSession;
}

export class KvMemory {
  readonly shape: BlockShape;
  /** By name, `[blocks, blockSize, kvHeads, headDim]`, on the GPU: feeds of graphs that take planes. */
  readonly planes: Readonly<Record<string, Tensor>>;
  readonly #sessions: Sessions;
  /** The host tier, by the name of the plane: `[hostBlocks, blockSize, kvHeads, headDim]`. */
  readonly #host: ReadonlyMap<string, Uint16Array>;

  private constructor(
    shape: BlockShape,
    sessions: Sessions,
    planes: Record<string, Tensor>,
    hostBlocks: number,
  ) {
    const elements = hostBlocks * blockElements(shape);
    this.shape = shape;
    this.planes = planes;
    this.#sessions = sessions;
    this.#host = new Map(Object.keys(planes).map((name) => [name, new Uint16Array(elements)]));
  }

  static async create(layout: CacheLayout): Promise<KvMemory> {
    const shape = blockShape(layout);
    const { deviceBlocks, hostBlocks } = layout.groups[0]!;
    const sessions = {
      upload: await createSession(uploadGraph(shape), 'gpu-buffer'),
      gather: await createSession(gatherGraph(shape), 'cpu'),
      scatter: await createSession(scatterGraph(shape), 'gpu-buffer'),
      copy: await createSession(copyGraph(shape), 'gpu-buffer'),
    };
    const dims = [deviceBlocks, shape.blockSize, shape.kvHeads, shape.headDim];
    const nothing = new Uint16Array(deviceBlocks * blockElements(shape)).fill(NAN);
    const planes: Record<string, Tensor> = {};
    for (const name of [...planeNames(shape.layers, 'key'), ...planeNames(shape.layers, 'value')]) {
      const { plane } = await sessions.upload.run({ data: halves(nothing, ...dims) });
      planes[name] = plane!;
    }
    return new KvMemory(shape, sessions, planes, hostBlocks);
  }

  /**
   * Makes the moves of a step before its pass, or those of a transfer: whatever runs next sees them. When one
   * fails, the work ends as failed and the error is passed on.
   */
  async execute(work: Executable): Promise<void> {
    work.beginExecute();
    try {
      const { offloads, onboards, copies } = work.moves;
      await this.#offload(sourcesOf(offloads, MOVE_WORDS), targetsOf(offloads, MOVE_WORDS));
      await this.#onboard(sourcesOf(onboards, MOVE_WORDS), targetsOf(onboards, MOVE_WORDS));
      await this.copy(sourcesOf(copies, COPY_WORDS), targetsOf(copies, COPY_WORDS));
    } catch (error) {
      work.endExecute(false);
      throw error;
    }
    work.endExecute(true);
  }

  /** Whole blocks, where a plan may ask for less: what is copied beyond is overwritten before it is read. */
  async copy(from: Int32Array, to: Int32Array): Promise<void> {
    if (from.length === 0) return;
    await this.#write(this.#sessions.copy, to, { from: ints(from) });
  }

  async #offload(device: Int32Array, host: Int32Array): Promise<void> {
    if (device.length === 0) return;
    const gathered = await this.#sessions.gather.run({ from: ints(device), ...this.planes });
    const elements = blockElements(this.shape);
    for (const [plane, memory] of this.#host) {
      const bits = bitsOf(gathered[blocksOf(plane)]!);
      host.forEach((block, i) => {
        memory.set(bits.subarray(i * elements, (i + 1) * elements), block * elements);
      });
    }
  }

  async #onboard(host: Int32Array, device: Int32Array): Promise<void> {
    if (host.length === 0) return;
    const { blockSize, kvHeads, headDim } = this.shape;
    const elements = blockElements(this.shape);
    const feeds: Record<string, Tensor> = {};
    for (const [plane, memory] of this.#host) {
      const bits = new Uint16Array(host.length * elements);
      host.forEach((block, i) => {
        bits.set(memory.subarray(block * elements, (block + 1) * elements), i * elements);
      });
      feeds[blocksOf(plane)] = halves(bits, host.length * blockSize, kvHeads * headDim);
    }
    await this.#write(this.#sessions.scatter, device, feeds);
  }

  /** Runs a graph that writes to the device blocks `to`. */
  async #write(
    session: InferenceSession,
    to: Int32Array,
    feeds: Record<string, Tensor>,
  ): Promise<void> {
    const tables = tablesOfBlocks(to, this.shape.blockSize);
    const attended = await session.run({ ...this.planes, ...tables, ...feeds });
    for (const tensor of Object.values(attended)) tensor.dispose();
  }
}

/** The records of a plan are one after the other, each a group, a source, a target, and of copies the tokens. */
function sourcesOf(records: Uint32Array, words: number): Int32Array {
  return Int32Array.from({ length: records.length / words }, (_, i) => records[i * words + 1]!);
}

function targetsOf(records: Uint32Array, words: number): Int32Array {
  return Int32Array.from({ length: records.length / words }, (_, i) => records[i * words + 2]!);
}
