/** The command line: every option checked, a misspelled one answered with the one that was meant. */
import { parseArgs } from 'node:util';
import { isNear, show } from '../validate.js';
import { CliError } from './errors.js';

export interface OptionSpec {
  readonly type: 'string' | 'boolean';
  /** How the value is shown in the help. */
  readonly value?: string;
  readonly help: string;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

/** What was given, by name; an option that was not is undefined. */
export interface Parsed<Specs extends OptionSpecs> {
  readonly values: {
    readonly [Name in keyof Specs]?: Specs[Name]['type'] extends 'boolean' ? boolean : string;
  };
  readonly positionals: readonly string[];
}

/** Throws a `CliError` for an option that does not exist, stands twice or lacks its value. */
export function parseOptions<Specs extends OptionSpecs>(
  specs: Specs,
  args: readonly string[],
): Parsed<Specs> {
  refuseUnknown(Object.keys(specs), args);
  const options: Record<string, { type: 'string' | 'boolean'; multiple: true }> = {};
  for (const [name, { type }] of Object.entries(specs)) options[name] = { type, multiple: true };
  const { values, positionals } = parse(args, options);
  const given = Object.entries(values).map(([name, all]) => {
    if (all!.length > 1) throw new CliError(`--${name} is given ${all!.length} times`);
    return [name, all![0]] as const;
  });
  return { values: Object.fromEntries(given) as Parsed<Specs>['values'], positionals };
}

function parse(
  args: readonly string[],
  options: Record<string, { type: 'string' | 'boolean'; multiple: true }>,
) {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: true });
  } catch (error) {
    throw new CliError((error as Error).message, { cause: error });
  }
}

function refuseUnknown(names: readonly string[], args: readonly string[]): void {
  for (const arg of args) {
    if (arg === '--') return;
    const name = /^--([^=]+)/.exec(arg)?.[1];
    if (name === undefined || names.includes(name)) continue;
    const known = names.map((each) => `--${each}`);
    throw new CliError(`there is no option --${name}${suggestion(`--${name}`, known)}`);
  }
}

/** The end of a message about a word that is none of `names`. */
export function suggestion(word: string, names: readonly string[]): string {
  const nearest = names.find((name) => isNear(word, name));
  return nearest === undefined ? `: there are ${names.join(', ')}` : `; did you mean ${nearest}?`;
}

/** The lines of a command's help that tell its options. */
export function optionLines(specs: OptionSpecs): readonly string[] {
  const heads = Object.entries(specs).map(
    ([name, { value }]) => `--${name}${value === undefined ? '' : ` ${value}`}`,
  );
  const width = Math.max(...heads.map((head) => head.length));
  return Object.values(specs).map(({ help }, i) => `  ${heads[i]!.padEnd(width)}  ${help}`);
}

/** A whole number in a range; the option `name` in messages. */
export function readCount(name: string, text: string, min: number, max: number): number {
  const value = toNumber(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new CliError(`--${name} takes a whole number from ${min} to ${max}, got ${show(text)}`);
}

/** A share in percent, above 0 and up to 100. */
export function readPercent(name: string, text: string): number {
  const value = toNumber(text);
  if (value > 0 && value <= 100) return value;
  throw new CliError(`--${name} takes percents above 0 and up to 100, got ${show(text)}`);
}

export function readName<Name extends string>(
  name: string,
  text: string,
  names: readonly Name[],
): Name {
  const found = names.find((each) => each === text);
  if (found !== undefined) return found;
  throw new CliError(`--${name} knows no ${show(text)}${suggestion(text, names)}`);
}

/** Of a list such as `1,2,5`, each part as `read` takes it. */
export function readList<T>(text: string, read: (part: string) => T): readonly T[] {
  return text.split(',').map((part) => read(part.trim()));
}

/** NaN for what is no plain decimal number. */
function toNumber(text: string): number {
  return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : NaN;
}
