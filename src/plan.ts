/**
 * What passes between the manager and a device: the shape of the memory, the moves to make before a
 * forward pass, and the tables that attention reads. Plain numbers and typed arrays, so that an engine
 * with buffers of its own can execute a plan without any of our devices.
 */

/** One tensor of a cache group: `bytesPerToken` for every slot of every block of the group. */
export interface Plane {
  readonly layer: number;
  /** What the plane holds: `'key'` and `'value'` for the usual model. */
  readonly name: string;
  readonly bytesPerToken: number;
  /** Other layers that read this plane, and have none of their own. */
  readonly sharedBy?: readonly number[];
}

/** The memory that one cache group needs. Block `b` of a plane begins at byte `b * blockSize * bytesPerToken`. */
export interface GroupLayout {
  readonly name: string;
  /** Which keys a query reads: all before it, those in a window that ends with it, or those of its chunk. */
  readonly kind: GroupKind;
  /** Of kind `'sliding'`: keys that a query reads, its own among them. */
  readonly window?: number;
  /** Of kind `'chunked'`: tokens of a chunk; a query reads those of its own chunk up to itself. */
  readonly chunk?: number;
  /** Tokens at the start of a sequence that every query reads, whatever the kind. */
  readonly sinks?: number;
  /** Tokens that can be taken back from a sequence's end with all that is read before them still there. */
  readonly rollback?: number;
  readonly planes: readonly Plane[];
  /** Blocks in the device pool; block ids of the device tier run from 0 to `deviceBlocks - 1`. */
  readonly deviceBlocks: number;
  /** Blocks in the host pool, numbered from 0; 0 when there is no host tier. */
  readonly hostBlocks: number;
}

export type GroupKind = 'full' | 'sliding' | 'chunked';

export interface CacheLayout {
  /** Token slots in a block. */
  readonly blockSize: number;
  /** Rows of every block table: one a sequence that may be open. */
  readonly maxSequences: number;
  /** Cells of a block table row: `ceil(maxSequenceTokens / blockSize)`. */
  readonly maxBlocksPerSequence: number;
  /** The element type of the planes, as the user gave it; a device may need it to bind kernels. */
  readonly model: ModelShape | undefined;
  readonly groups: readonly GroupLayout[];
}

export type DType = 'f32' | 'f16';

/** Layers that attend only to what is near: to a window or to their chunk, and to the first tokens. */
export interface LocalLayers {
  /** Which, counted from 0. At least one layer must read all. */
  readonly layers: readonly number[];
  /** Keys that a query reads, its own among them. Give this or `chunk`. */
  readonly window?: number;
  /** Tokens of a chunk: a query reads its own chunk up to itself. */
  readonly chunk?: number;
  /** Tokens at the start of a sequence that every query reads. Default 0. */
  readonly sinks?: number;
  /** Tokens that can be taken back with all that is read before them still there. Default: a block. */
  readonly rollback?: number;
  /** Blocks of these layers on the device. Default: as many as the other layers have. */
  readonly deviceBlocks?: number;
}

/** A model whose layers keep keys and values. Every plane is `[blocks, blockSize, kvHeads, headDim]`. */
export interface ModelShape {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly dtype: DType;
  /** Layers that do not read all: these are a cache group of their own, named `'local'`. */
  readonly local?: LocalLayers;
}

/**
 * Moves of whole or partial blocks, executed in the order offloads, onboards, copies, before the pass.
 * Typed arrays of records; the views live until the step's commit or abort.
 */
export interface Moves {
  /** Records of 3: group, device block (source), host block (target). */
  readonly offloads: Uint32Array;
  /** Records of 3: group, host block (source), device block (target). */
  readonly onboards: Uint32Array;
  /** Records of 4: group, source device block, target device block, tokens to copy from the block's start. */
  readonly copies: Uint32Array;
}

/** The tables of one cache group for one step. */
export interface GroupTables {
  /**
   * `int32 [maxSequences, maxBlocksPerSequence]`, the block table of every sequence, kept up to date in
   * place. The row of the i-th sequence of the batch is `attention.rows[i]`.
   */
  readonly blockTable: Int32Array;
  /** Records of 3: row, first cell, cells: what changed in `blockTable` since the last step was scheduled. */
  readonly tableUpdates: Uint32Array;
  /** `int32 [tokens]`: the slot that each query token's K and V are written to; −1: do not write. */
  readonly slotMapping: Int32Array;
}

/**
 * What an attention kernel reads, for a batch of ragged query tokens laid end to end
 * (after the contract of ONNX Runtime's `com.microsoft.PagedAttention`).
 */
export interface Attention {
  /** Sequences in the batch. */
  readonly batch: number;
  /** Query tokens of the whole batch: the last entry of `cumulativeLengths`. None of a prefetch, which no pass follows. */
  readonly tokens: number;
  /** `uint32 [batch]`: each sequence's row in the block tables. */
  readonly rows: Uint32Array;
  /** `int32 [batch]`: tokens in memory before this step (`past_seqlens`). */
  readonly pastLengths: Int32Array;
  /** `int32 [batch + 1]`: where each sequence's query tokens begin (`cumulative_sequence_length`). */
  readonly cumulativeLengths: Int32Array;
  /**
   * `uint32 [batch]`: how many leading tokens of those given were found in memory after all (another
   * sequence computed them since `open`). The pass leaves them out: they are not among the query tokens.
   */
  readonly skipped: Uint32Array;
  /** Which of all steps that were scheduled this is; after 2³² − 1 comes 0. */
  readonly serial: number;
  /**
   * `uint32 [maxSequences]`: by row, the serial of the step that last told of changes in it. So who follows
   * only some steps sees which rows to read anew.
   */
  readonly rowSerials: Uint32Array;
  readonly groups: readonly GroupTables[];
}

/**
 * How much later the pass could begin because of the moves of each kind, in milliseconds, where a device has
 * measured it. Of this the manager learns whether to bring blocks back or to have them computed again.
 */
export interface TransferTimes {
  readonly offload?: number;
  readonly onboard?: number;
}

/**
 * Something a device can execute: a step, or a transfer made by `preempt`.
 * A device calls `beginExecute` before it touches memory and `endExecute` once every move is done.
 */
export interface Executable {
  readonly moves: Moves;
  /** Absent for a transfer, which moves blocks and attends to nothing. */
  readonly attention?: Attention;
  beginExecute(): void;
  endExecute(ok: boolean, times?: TransferTimes): void;
}

/**
 * An execution under way: a promise that resolves when the work has ended, so that a step may be committed, and
 * rejects when it failed, so that only `abort` is left.
 */
export interface Execution extends Promise<void> {
  /**
   * Resolves once the pass may be submitted: what it reads comes before it on the queue, and so does whatever
   * has to be saved from what it overwrites. Rejects where the execution fails before.
   */
  readonly submitted: Promise<void>;

  /** As `submitted`, for a pass over one layer: a long way from the host brings the first layers first. */
  layer(layer: number): Promise<void>;

  /**
   * Stops what has not been moved yet, and lets the work end as failed, once nothing moves any more; work that
   * has not begun stays as it was. The promise rejects with `EXECUTION_CANCELLED`. Nothing happens once it has ended.
   */
  cancel(): void;
}

/** What `pagedkv/webgpu` and `pagedkv/host` have in common. */
export interface CacheDevice {
  /** Executes the moves of a step or transfer. */
  execute(work: Executable): Execution;
}
