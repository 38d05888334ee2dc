/** `pagedkv replay TRACE`. */
import type { Command } from '../command.js';
import { CliError } from '../errors.js';

export const replayCommand: Command = {
  name: 'replay',
  summary: 'replays a trace of requests through the manager and counts hits',
  usage: 'Usage: pagedkv replay TRACE [OPTIONS]',
  run: () => Promise.reject(new CliError('not there yet')),
};
