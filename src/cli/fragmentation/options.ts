/** The command line of `pagedkv fragmentation`. */
import { native } from '../../native.js';
import { CliError } from '../errors.js';
import {
  optionLines,
  parseOptions,
  readCount,
  readList,
  readName,
  type OptionSpecs,
} from '../options.js';
import { ADMISSIONS, type AdmissionName } from './admission.js';

export interface FragmentationOptions {
  /** Undefined: requests are generated. */
  readonly file: string | undefined;
  readonly slots: number;
  readonly maxLength: number;
  readonly blockSizes: readonly number[];
  readonly admissions: readonly AdmissionName[];
  readonly requests: number;
  readonly seed: number;
  readonly json: boolean;
  readonly svg: string | undefined;
}

const DEFAULT_BLOCK_SIZES = [1, 8, 16, 32, 64, 128, 256, 512];
const MAX_SLOTS = 2 ** 24;

const SPECS = {
  slots: { type: 'string', value: 'N', help: 'token slots of the memory (15700)' },
  'max-length': { type: 'string', value: 'N', help: 'tokens of the longest request (2048)' },
  'block-size': {
    type: 'string',
    value: 'N[,N]',
    help: `slots in a block, for paged (${DEFAULT_BLOCK_SIZES.join()})`,
  },
  admission: {
    type: 'string',
    value: 'NAME[,NAME]',
    help: `${ADMISSIONS.join(', ')}, for paged (watermark)`,
  },
  requests: {
    type: 'string',
    value: 'N',
    help: 'requests to generate where there is no file (5000)',
  },
  seed: { type: 'string', value: 'N', help: 'of the generator (1)' },
  json: { type: 'boolean', help: 'print an array of objects, one a scheme, and no curve' },
  svg: {
    type: 'string',
    value: 'FILE',
    help: 'draw utilisation against preemptions (needs echarts)',
  },
  help: { type: 'boolean', help: 'print this' },
} as const satisfies OptionSpecs;

export const usage = [
  'Usage: pagedkv fragmentation [LENGTHS] [OPTIONS]',
  '',
  'Serves requests by continuous batching out of a memory of so many token slots, and tells what becomes of',
  'the slots: when each request reserves contiguous ones, and when the manager gives out blocks. LENGTHS is',
  'JSON lines of [t_ms,in,out], or CSV with the columns TIMESTAMP,ContextTokens,GeneratedTokens; plain or',
  'gzipped. All requests wait from the start, in the order of the file. Without a file, requests with the',
  'lengths of ShareGPT are generated.',
  '',
  ...optionLines(SPECS),
  '',
  'greedy      admits whatever fits now',
  'prompt      admits what fits now, with the next token of everybody',
  'watermark   keeps a reserve for every running request, which learns from preemptions',
  'known       knows how long every output will be, and never preempts',
].join('\n');

/** Throws a `CliError`. */
export function readFragmentationOptions(args: readonly string[]): FragmentationOptions {
  const { values, positionals } = parseOptions(SPECS, args);
  const [file, ...others] = positionals;
  if (others.length > 0) throw new CliError(`one file at a time: what is '${others[0]!}'?`);
  if (values.svg === '') throw new CliError('--svg takes the name of a file');
  if (file !== undefined) refuseGenerator(values);
  const slots = readCount('slots', values.slots ?? '15700', 1, MAX_SLOTS);
  const maxLength = readCount('max-length', values['max-length'] ?? '2048', 1, MAX_SLOTS);
  const blockSizes = readBlockSizes(values['block-size']);
  refuseTooFewSlots(slots, maxLength, blockSizes);
  return {
    file,
    slots,
    maxLength,
    blockSizes,
    admissions: distinct(
      readList(values.admission ?? 'watermark', (part) => readName('admission', part, ADMISSIONS)),
    ),
    requests: readCount('requests', values.requests ?? '5000', 1, 10_000_000),
    seed: readCount('seed', values.seed ?? '1', 0, 2 ** 32 - 1),
    json: values.json === true,
    svg: values.svg,
  };
}

function refuseGenerator(values: { readonly requests?: string; readonly seed?: string }): void {
  const name = values.requests !== undefined ? 'requests' : 'seed';
  if (values[name] === undefined) return;
  throw new CliError(`--${name} is for generated requests: leave it out, or the file`);
}

function readBlockSizes(text: string | undefined): readonly number[] {
  if (text === undefined) return DEFAULT_BLOCK_SIZES;
  return distinct(readList(text, (part) => readCount('block-size', part, 1, native.maxBlockSize)));
}

function refuseTooFewSlots(slots: number, maxLength: number, blockSizes: readonly number[]): void {
  if (slots < maxLength) {
    throw new CliError(
      `--slots ${slots} cannot hold one request of --max-length ${maxLength}: ` +
        `give --slots ${maxLength} or more, or a smaller --max-length`,
    );
  }
  for (const blockSize of blockSizes) {
    const usable = slots - (slots % blockSize);
    if (usable >= maxLength) continue;
    throw new CliError(
      `--slots ${slots} make ${usable} in blocks of ${blockSize}, too few for one request of ` +
        `--max-length ${maxLength}: give --slots ${Math.ceil(maxLength / blockSize) * blockSize} ` +
        'or more, or a smaller --block-size',
    );
  }
}

function distinct<T>(values: readonly T[]): readonly T[] {
  return [...new Set(values)];
}
