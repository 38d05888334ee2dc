/** `pagedkv COMMAND …`: finds the command and tells how it ended. */
import { benchCommand } from './bench/command.js';
import type { Command } from './command.js';
import { CliError } from './errors.js';
import { fragmentationCommand } from './fragmentation/command.js';
import { suggestion } from './options.js';
import { replayCommand } from './replay/command.js';

const COMMANDS: readonly Command[] = [replayCommand, fragmentationCommand, benchCommand];

/** Returns the exit code. 0: done; 1: a defect; 2: what was given cannot be used. */
export async function runCli(args: readonly string[]): Promise<number> {
  try {
    await dispatch(args);
    return 0;
  } catch (error) {
    if (error instanceof CliError) {
      console.error(`pagedkv: ${error.message}`);
      return 2;
    }
    console.error(error instanceof Error ? error.stack : error);
    return 1;
  }
}

async function dispatch([name, ...args]: readonly string[]): Promise<void> {
  if (name === undefined) throw new CliError(`which command?\n\n${helpText()}`);
  if (name === '--help' || name === '-h') {
    console.log(helpText());
    return;
  }
  const command = COMMANDS.find((each) => each.name === name);
  if (command === undefined) {
    const names = COMMANDS.map((each) => each.name);
    throw new CliError(`there is no command '${name}'${suggestion(name, names)}`);
  }
  if (args.includes('--help') || args.includes('-h')) {
    console.log(command.usage);
    return;
  }
  await command.run(args);
}

function helpText(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  return [
    'Usage: pagedkv COMMAND [OPTIONS]',
    '',
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    '',
    'pagedkv COMMAND --help tells the options of each.',
  ].join('\n');
}
