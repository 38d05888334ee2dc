/**
 * Blocks of 16 tokens compared through a block table, in WebAssembly: at the speed of native code, but with
 * nothing of ours in it. (JavaScript's own loop over typed arrays takes ten times as long, which would
 * flatter us, and `Buffer.compare` a block at a time takes fifty.)
 */

/** Addresses of the prompt, the pool of tokens and the table, in bytes; returns how many blocks agree. */
export type Compare = (prompt: number, pool: number, table: number, blocks: number) => number;

/** As much of it as is used here; neither Node's types nor the language's declare it. */
declare const WebAssembly: {
  readonly Memory: new (pages: { initial: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (
    module: object,
    imports: object,
  ) => { readonly exports: { readonly compare: Compare } };
};

const PAGE_BYTES = 65536;

export function wasmCompare(bytes: number): { memory: ArrayBuffer; compare: Compare } {
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE_BYTES) });
  const module = new WebAssembly.Module(assemble());
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return { memory: memory.buffer, compare: exports.compare };
}

const I32 = 0x7f;
const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const i32Const = (value: number) => [0x41, (value & 0x7f) | 0x80, value >> 7];
const I32_ADD = 0x6a;
const V128_XOR = [0xfd, 0x51];
const V128_OR = [0xfd, 0x50];
const V128_ANY_TRUE = [0xfd, 0x53];
const v128Load = (offset: number) => [0xfd, 0x00, 0x04, offset];
const increase = (local: number, by: number) => [
  ...get(local),
  ...i32Const(by),
  I32_ADD,
  ...set(local),
];

/** The module, as its bytes. */
function assemble(): Uint8Array {
  const [prompt, pool, table, blocks, agreed, block] = [0, 1, 2, 3, 4, 5];
  /** The words that differ in a quarter of a block. */
  const differing = (offset: number) => [
    ...[...get(prompt), ...v128Load(offset)],
    ...[...get(block), ...v128Load(offset)],
    ...V128_XOR,
  ];
  const body = [
    ...[1, 2, I32], // two locals beside the parameters
    ...[0x02, 0x40, 0x03, 0x40], // block, loop
    ...[...get(agreed), ...get(blocks), 0x46, 0x0d, 1], // all agree: leave the block
    ...[...get(table), 0x28, 0x02, 0], // load the cell
    ...[...i32Const(6), 0x74, ...get(pool), I32_ADD, ...set(block)], // at 64 bytes a block
    ...[...differing(0), ...differing(16), ...V128_OR],
    ...[...differing(32), ...V128_OR, ...differing(48), ...V128_OR],
    ...[...V128_ANY_TRUE, 0x0d, 1], // a difference: leave the block
    ...[...increase(prompt, 64), ...increase(table, 4), ...increase(agreed, 1)],
    ...[0x0c, 0, 0x0b, 0x0b], // again; end of loop and block
    ...[...get(agreed), 0x0b],
  ];
  const section = (id: number, bytes: number[]) => [id, ...length(bytes), ...bytes];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 4, I32, I32, I32, I32, 1, I32]), // the type
    ...section(2, [1, ...name('env'), ...name('memory'), 2, 0, 1]), // the imported memory
    ...section(3, [1, 0]), // the function
    ...section(7, [1, ...name('compare'), 0, 0]), // its export
    ...section(10, [1, ...length(body), ...body]), // its code
  ]);
}

/** In two bytes of LEB128, whatever it is. */
function length(bytes: readonly number[]): number[] {
  return [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
}

function name(text: string): number[] {
  return [text.length, ...Buffer.from(text)];
}
