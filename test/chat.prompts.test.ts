import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadPrompts, longestCase, type Conversation } from '../examples/chat/prompts.js';

const limits = { chats: 8, turns: 3, promptTokens: 20 };
let folder = '';

function fileOf(content: string | Buffer): string {
  const path = join(folder, 'prompts');
  writeFileSync(path, content);
  return path;
}

function textsOf({ turns }: Conversation): string[] {
  return turns.map((turn) => Buffer.from(turn).toString().split(': ')[1]!.split('\n')[0]!);
}

describe('prompts of the chat example', () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'chat-prompts-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  it('are built in', () => {
    const { conversations, system } = loadPrompts(undefined, { ...limits, promptTokens: 100 });
    expect(conversations).toHaveLength(8);
    expect(conversations.every(({ turns }) => turns.length === 3)).toBe(true);
    expect(system.length).toBeGreaterThan(100);
  });

  it('come from a file, one a line, cut to the limits and told so', () => {
    const path = fileOf('Tell me a story.\n\nWhat lies beyond the mountains of the north?\n');
    const { conversations, notes } = loadPrompts(path, { ...limits, chats: 5 });
    expect(conversations.map((chat) => textsOf(chat)[0])).toEqual([
      'Tell me a story.',
      'What lies beyond the',
    ]);
    expect(notes.join()).toContain('cut to 20 tokens');
    expect(loadPrompts(path, { ...limits, chats: 1 }).notes.join()).toContain('1 of 2 lines');
  });

  it('come from recorded sessions: a turn is what an input adds to the one before', () => {
    const request = (session: string, input: string): string => JSON.stringify({ session, input });
    const lines = [
      request('a', 'one'),
      request('b', 'uno'),
      request('a', 'one two'),
      request('a', 'one'),
    ];
    const path = fileOf(gzipSync(lines.join('\n')));
    const { conversations } = loadPrompts(path, { ...limits, turns: 2 });
    expect(conversations.map((chat) => textsOf(chat)[0])).toEqual(['one', 'uno']);
    expect(textsOf(conversations[0]!)[1]!.trim()).toBe('two');
  });

  it('are refused where the file has none, or is not what it seems', () => {
    expect(() => loadPrompts(fileOf('\n \n'), limits)).toThrow('no prompt');
    expect(() => loadPrompts(fileOf('{"session":1}'), limits)).toThrow(':1: expected an object');
    expect(() => loadPrompts(fileOf('{"session":"a","input":"b"}\nhello'), limits)).toThrow(':2:');
    expect(() => loadPrompts(join(folder, 'none'), limits)).toThrow('cannot read');
  });

  it('tell how long a chat gets', () => {
    const { system, conversations } = loadPrompts(undefined, limits);
    const chat = conversations[0]!;
    const own = chat.turns.reduce((sum, turn) => sum + turn.length, 0);
    expect(longestCase(system, chat, 10)).toBe(system.length + own + 30);
  });
});
