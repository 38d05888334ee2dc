import { describe, expect, it } from 'vitest';
import { helpText, parseOptions } from '../examples/chat/options.js';
import { UsageError } from '../examples/chat/usage.js';

describe('the command line of the chat example', () => {
  it('has a default for everything', () => {
    expect(parseOptions([])).toMatchObject({
      device: undefined,
      chats: 10,
      corrupt: false,
      json: false,
    });
  });

  it('takes numbers, names and flags', () => {
    const options = parseOptions([
      '--chats=3',
      '--temperature',
      '0.5',
      '--device',
      'host',
      '--corrupt',
    ]);
    expect(options).toMatchObject({ chats: 3, temperature: 0.5, device: 'host', corrupt: true });
  });

  it('tells which option a misspelled one should be', () => {
    expect(() => parseOptions(['--promts', 'x'])).toThrow(
      new UsageError('there is no option --promts; did you mean --prompts?'),
    );
    expect(() => parseOptions(['--abort', '3'])).toThrow('did you mean --abort-every?');
    expect(() => parseOptions(['--colour'])).toThrow('see --help');
  });

  it.each([
    [['--chats', '0']],
    [['--chats', '1.5']],
    [['--chats', '']],
    [['--temperature', 'NaN']],
    [['--device', 'cuda']],
    [['--seed']],
    [['--abort-every', '1']],
    [['--fail-transfers', '0.9']],
    [['--json=yes']],
    [['prompts.txt']],
  ])('refuses %j', (args) => {
    expect(() => parseOptions(args)).toThrow(UsageError);
  });

  it('explains every option', () => {
    expect(parseOptions(['--help'])).toBeUndefined();
    expect(helpText()).toMatch(/--device webgpu\|host +where to run/);
  });
});
