/** What `pagedkv NAME` runs. */
export interface Command {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** What `--help` prints. */
  readonly usage: string;
  /** Throws a `CliError` for what the user gave and the command cannot work with. */
  run(args: readonly string[]): Promise<void>;
}
