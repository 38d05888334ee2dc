/** The command line of `pagedkv replay`. */
import { native } from '../../native.js';
import { HOST_MODES, type HostMode } from '../../options.js';
import { CliError } from '../errors.js';
import {
  optionLines,
  parseOptions,
  readCount,
  readList,
  readName,
  readPercent,
  type OptionSpecs,
} from '../options.js';
import { POLICIES, type Policy } from './manager.js';
import { DEFAULT_PERCENTS, type SizeOption } from './sizes.js';

export interface ReplayOptions {
  readonly trace: string;
  /** Empty for the default ones. */
  readonly sizes: readonly SizeOption[];
  readonly hostSize: SizeOption | undefined;
  readonly hostMode: HostMode;
  readonly policies: readonly Policy[];
  readonly hints: boolean;
  readonly json: boolean;
  readonly svg: string | undefined;
}

const SPECS = {
  percent: {
    type: 'string',
    value: 'P[,P]',
    help: `cache sizes, in percent of the trace's distinct blocks (${DEFAULT_PERCENTS.join()})`,
  },
  blocks: { type: 'string', value: 'N', help: 'the cache size in blocks, instead' },
  policy: {
    type: 'string',
    value: 'NAME[,NAME]',
    help: `${POLICIES.join(', ')} (${POLICIES[0]!})`,
  },
  'host-percent': {
    type: 'string',
    value: 'P',
    help: "a host tier behind it, in percent of the trace's distinct blocks",
  },
  'host-blocks': { type: 'string', value: 'N', help: 'the host tier in blocks, instead' },
  'host-mode': { type: 'string', value: 'MODE', help: `${HOST_MODES.join(', ')} (exclusive)` },
  hints: {
    type: 'boolean',
    help: 'tell the manager what the trace tells: ends of sessions, why outputs stopped',
  },
  json: {
    type: 'boolean',
    help: 'print one JSON object, or an array of them for several sizes or policies',
  },
  svg: { type: 'string', value: 'FILE', help: 'draw hit rate against cache size (needs echarts)' },
  help: { type: 'boolean', help: 'print this' },
} as const satisfies OptionSpecs;

export const usage = [
  'Usage: pagedkv replay TRACE [OPTIONS]',
  '',
  'Replays a trace of requests, one after the other, through the manager and counts what prompts find in',
  "memory. TRACE is JSONL, plain or gzipped: with a header line, or Mooncake's own. A request longer than",
  'the cache uses only its first blocks.',
  '',
  ...optionLines(SPECS),
].join('\n');

/** Throws a `CliError`. */
export function readReplayOptions(args: readonly string[]): ReplayOptions {
  const { values, positionals } = parseOptions(SPECS, args);
  const [trace, ...others] = positionals;
  if (trace === undefined) throw new CliError('which trace? pagedkv replay TRACE');
  if (others.length > 0) throw new CliError(`one trace at a time: what is '${others[0]!}'?`);
  if (values.svg === '') throw new CliError('--svg takes the name of a file');
  const host = readSizes('host-percent', values['host-percent'], 'host-blocks', values);
  if (host.length > 1) throw new CliError('--host-percent takes one size');
  return {
    trace,
    sizes: readSizes('percent', values.percent, 'blocks', values),
    hostSize: host[0],
    hostMode: readName('host-mode', values['host-mode'] ?? HOST_MODES[0], HOST_MODES),
    policies: readList(values.policy ?? POLICIES[0]!, (part) => readName('policy', part, POLICIES)),
    hints: values.hints === true,
    json: values.json === true,
    svg: values.svg,
  };
}

function readSizes(
  percentName: string,
  percents: string | undefined,
  blocksName: 'blocks' | 'host-blocks',
  values: { readonly blocks?: string; readonly 'host-blocks'?: string },
): readonly SizeOption[] {
  const blocks = values[blocksName];
  if (percents !== undefined && blocks !== undefined) {
    throw new CliError(`give --${percentName} or --${blocksName}, not both`);
  }
  if (percents !== undefined) {
    return readList(percents, (part) => ({ percent: readPercent(percentName, part) }));
  }
  if (blocks === undefined) return [];
  return [{ blocks: readCount(blocksName, blocks, 1, native.maxBlocksPerPool) }];
}
