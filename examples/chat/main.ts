/**
 * Chats on a small Llama, many at once, over pagedkv; then all of them again over contiguous caches, and
 * every token compared. Exit code 0: all equal; 1: a difference or a failure; 2: usage.
 */
import { helpText, parseOptions } from './options.js';
import { isVerified, toJson, toTable } from './report.js';
import { run } from './run.js';
import { UsageError } from './usage.js';

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options === undefined) {
      console.log(helpText());
      return 0;
    }
    // With --json, stdout is for the object alone.
    const outcome = await run(options, options.json ? console.error : console.log);
    console.log(options.json ? JSON.stringify(toJson(outcome)) : toTable(outcome));
    return isVerified(outcome) ? 0 : 1;
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(error.message);
      return 2;
    }
    console.error(error instanceof Error ? error.stack : error);
    return 1;
  }
}
