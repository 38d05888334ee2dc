/** What a command refuses: the message says what is wrong and what to do about it. Exit code 2. */
export class CliError extends Error {
  override readonly name = 'CliError';
}

/** A line of a file that cannot be used. `mend`: what would make it right. */
export function lineError(path: string, line: number, problem: string, mend: string): CliError {
  return new CliError(`${path}:${line}: ${problem}; ${mend}`);
}
