/**
 * Texts written side by side by ONNX Runtime over pagedkv's tables, then once more by a plain engine, and every
 * token compared. Exit code 0: all equal; 1: a difference or a failure.
 */
import { parseArgs } from 'node:util';
import { tellStory, type Outcome } from './story.js';

/**
 * What f16 may do to a row of logits: on the software driver 1e-2, and half of that between two passes of one model
 * whose batches differ. One wrong block is off by a third and more.
 */
const MOST_ERROR = 2e-2;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '2' },
    corrupt: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const outcome = await tellStory({ seed: Number(values.seed), corrupt: values.corrupt });
const { different, error } = outcome.comparison;
const verified = different.length === 0 && error < MOST_ERROR;
console.log(values.json ? JSON.stringify({ verified, ...outcome }) : describe(outcome, verified));
process.exitCode = verified ? 0 : 1;

function describe(outcome: Outcome, isVerified: boolean): string {
  const { comparison, passes, stats, cached, firstPassSeconds, otherPassesSeconds } = outcome;
  const found = Object.entries(cached).map(([name, tokens]) => `${tokens} of "${name}"`);
  const largest = comparison.error.toExponential(1);
  return [
    `${comparison.tokens} tokens in ${passes} passes: ${firstPassSeconds.toFixed(1)} s for the first, with its shaders`,
    `to compile, ${otherPassesSeconds.toFixed(1)} s for all others`,
    `found in memory: ${found.join(', ')}`,
    `copied before written: ${stats.copiesOnWrite} blocks; swapped out ${stats.swappedOutBlocks}, in ${stats.swappedInBlocks}`,
    isVerified
      ? `verified: all tokens are those of the plain engine (${comparison.ties} ties), logits within ${largest}`
      : `DIFFERENT: ${comparison.different.join(', ') || 'the logits'}, off by up to ${largest}`,
  ].join('\n');
}
