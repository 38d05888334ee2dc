/** The command line: every option checked, a misspelled one answered with the one that was meant. */
import { parseArgs } from 'node:util';
import { UsageError } from './usage.js';

export interface Options {
  readonly device: 'webgpu' | 'host' | undefined;
  readonly model: string | undefined;
  readonly prompts: string | undefined;
  readonly chats: number;
  readonly turns: number;
  readonly samples: number;
  readonly newTokens: number;
  readonly promptTokens: number;
  readonly temperature: number;
  readonly seed: number;
  readonly blockSize: number;
  /** Undefined: chosen to be too small for all chats at once. */
  readonly deviceBlocks: number | undefined;
  readonly hostBlocks: number | undefined;
  readonly batchTokens: number;
  readonly abortEvery: number;
  /** Share of the pieces of transfers that are made to fail. */
  readonly failTransfers: number;
  readonly corrupt: boolean;
  readonly json: boolean;
}

interface Spec {
  readonly type: 'string' | 'boolean';
  /** How the value is shown in the help. */
  readonly value?: string;
  readonly help: string;
}

const specs = {
  device: {
    type: 'string',
    value: 'webgpu|host',
    help: 'where to run; webgpu if there is an adapter',
  },
  model: {
    type: 'string',
    value: 'FILE',
    help: 'weights of a Llama in safetensors; else from the seed',
  },
  prompts: {
    type: 'string',
    value: 'FILE',
    help: 'one prompt a line, or JSONL with session and input',
  },
  chats: { type: 'string', value: 'N', help: 'at most so many chats (10)' },
  turns: { type: 'string', value: 'N', help: 'turns of each chat (3)' },
  samples: { type: 'string', value: 'N', help: 'replies drawn in parallel each turn (2)' },
  'new-tokens': { type: 'string', value: 'N', help: 'tokens of a reply (20)' },
  'prompt-tokens': {
    type: 'string',
    value: 'N',
    help: 'at most so many tokens of one user text (160)',
  },
  temperature: { type: 'string', value: 'T', help: 'of the sampling (0.9)' },
  seed: { type: 'string', value: 'N', help: 'of weights and sampling (1)' },
  'block-size': { type: 'string', value: 'N', help: 'token slots in a block (16)' },
  'device-blocks': { type: 'string', value: 'N', help: 'device pool; too small by default' },
  'host-blocks': { type: 'string', value: 'N', help: 'host tier; small by default' },
  'batch-tokens': { type: 'string', value: 'N', help: 'query tokens in one step (96)' },
  'abort-every': { type: 'string', value: 'N', help: 'abort one step in so many, 0 for none (25)' },
  'fail-transfers': {
    type: 'string',
    value: 'P',
    help: 'let this share of all pieces of transfers fail (0)',
  },
  corrupt: {
    type: 'boolean',
    help: 'overwrite one slot in use: the run must end with exit code 1',
  },
  json: { type: 'boolean', help: 'print one JSON object instead of the table' },
  help: { type: 'boolean', help: 'print this' },
} as const satisfies Record<string, Spec>;

type Name = keyof typeof specs;
type Values = Partial<Record<Name, string | boolean>>;

export function helpText(): string {
  const lines = Object.entries<Spec>(specs).map(([name, { value, help }]) => {
    return `  ${`--${name}${value === undefined ? '' : ` ${value}`}`.padEnd(24)}${help}`;
  });
  return [
    'Chats on a small Llama, many at once, over pagedkv; then all of them again over contiguous caches,',
    'and every token compared. Exit code 0: all equal; 1: a difference or a failure; 2: usage.',
    '',
    ...lines,
  ].join('\n');
}

/** Throws a `UsageError`. Returns undefined when help was asked for. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const values = parse(args);
  if (values.help === true) return undefined;
  const text = (name: Name): string | undefined => values[name] as string | undefined;
  const count = (name: Name, preset: number, least: number, most: number): number =>
    number(name, text(name), preset, least, most, true);
  const optionalCount = (name: Name, least: number): number | undefined =>
    text(name) === undefined ? undefined : count(name, 0, least, 1_000_000);
  return {
    device: deviceName(text('device')),
    model: text('model'),
    prompts: text('prompts'),
    chats: count('chats', 10, 1, 1024),
    turns: count('turns', 3, 1, 64),
    samples: count('samples', 2, 1, 16),
    newTokens: count('new-tokens', 20, 1, 4096),
    promptTokens: count('prompt-tokens', 160, 1, 65_536),
    temperature: number('temperature', text('temperature'), 0.9, 0.01, 10, false),
    seed: count('seed', 1, 0, 4_294_967_295),
    blockSize: count('block-size', 16, 1, 256),
    deviceBlocks: optionalCount('device-blocks', 1),
    hostBlocks: optionalCount('host-blocks', 0),
    batchTokens: count('batch-tokens', 96, 1, 65_536),
    abortEvery: abortEvery(count('abort-every', 25, 0, 1_000_000)),
    failTransfers: number('fail-transfers', text('fail-transfers'), 0, 0, 0.5, false),
    corrupt: values.corrupt === true,
    json: values.json === true,
  };
}

function parse(args: readonly string[]): Values {
  const names = Object.keys(specs);
  const options: Record<string, { type: 'string' | 'boolean' }> = {};
  for (const [name, { type }] of Object.entries<Spec>(specs)) options[name] = { type };
  for (const arg of args) {
    const name = /^--([^=]+)/.exec(arg)?.[1];
    if (name === undefined || names.includes(name)) continue;
    throw new UsageError(`there is no option --${name}${suggestion(name, names)}`);
  }
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** The option that begins like it, else the one that is fewest edits away. */
function suggestion(name: string, names: readonly string[]): string {
  const distance = (known: string): number =>
    known.startsWith(name) || name.startsWith(known) ? 0 : editDistance(name, known);
  const nearest = names.reduce((a, b) => (distance(b) < distance(a) ? b : a));
  return distance(nearest) <= 3 ? `; did you mean --${nearest}?` : '; see --help';
}

/** Letters to insert, delete or replace (Levenshtein, 1965). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

function abortEvery(steps: number): number {
  if (steps !== 1) return steps;
  throw new UsageError('--abort-every 1 would abort every step: 0 for none, or 2 and more');
}

function deviceName(text: string | undefined): Options['device'] {
  if (text === undefined || text === 'webgpu' || text === 'host') return text;
  throw new UsageError(`--device is 'webgpu' or 'host', got '${text}'`);
}

function number(
  name: string,
  text: string | undefined,
  preset: number,
  least: number,
  most: number,
  whole: boolean,
): number {
  if (text === undefined) return preset;
  const value = text.trim() === '' ? NaN : Number(text);
  if (value >= least && value <= most && (!whole || Number.isInteger(value))) return value;
  throw new UsageError(
    `--${name} is a ${whole ? 'whole ' : ''}number from ${least} to ${most}, got '${text}'`,
  );
}
