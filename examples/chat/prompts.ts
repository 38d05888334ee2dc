/**
 * What the chats are about: a system prompt that all of them share, and what each user says turn by turn.
 * Tokens are bytes of UTF-8.
 */
import { gunzipSync } from 'node:zlib';
import { readInput, UsageError } from './usage.js';

export type Tokens = Uint32Array<ArrayBuffer>;

export interface Conversation {
  /** What the user adds in each turn, the marks of who speaks included. */
  readonly turns: readonly Tokens[];
}

export interface PromptSet {
  readonly system: Tokens;
  readonly conversations: readonly Conversation[];
  /** What was left out for the limits, to be printed. */
  readonly notes: readonly string[];
}

export interface PromptLimits {
  readonly chats: number;
  readonly turns: number;
  /** Tokens of one user text. */
  readonly promptTokens: number;
}

const systemPrompt =
  'You are the night clerk of a small hotel by the sea. You know the tides, the trains and the towels. ' +
  'Answer in one or two plain sentences. If a guest asks for what the house does not have, say so and ' +
  'offer what it has. Never give a room number to a stranger.';

/** One line a chat, one text a turn; some start alike, so that they share more than the system prompt. */
const builtIn: readonly (readonly string[])[] = [
  [
    'Can I have breakfast before the early train?',
    'And a boiled egg?',
    'Then wake me an hour before.',
  ],
  ['Can I have breakfast in my room?', 'What does that cost?', 'No, I will come down.'],
  ['When is high water tomorrow?', 'Can one walk to the island?', 'How long before it floods?'],
  [
    'When is the last train to the city?',
    'And on a Sunday?',
    'Please book two seats by the window.',
  ],
  ['The radiator knocks all night.', 'I did turn it.', 'Is there another room?'],
  [
    'Somebody sings on the third floor.',
    'He is good, but it is two o’clock.',
    'Thank you. What is it?',
  ],
  ['May my dog sleep on the bed?', 'She is very small.', 'She has brought her own towel.'],
  ['I lost a grey glove on the stairs.', 'The left one.', 'It was my mother’s.'],
  ['Which room is Mr Ferrer in?', 'I am his brother.', 'Tell him that I called.'],
  ['Do you have a chess set?', 'A pawn is missing.', 'Will you play a game?'],
  ['Is there a doctor near by?', 'It is only the oysters.', 'I feel better now.'],
  ['Can I leave my bags until six?', 'One of them ticks.', 'It is an alarm clock.'],
];

/** Said in further turns when the prompts give only a first. */
const followUps = [
  'Say that in other words.',
  'Why is that so?',
  'Give an example.',
  'And what then?',
];

/** The prompts built in, or those of a file. Throws a `UsageError` where the file has none. */
export function loadPrompts(file: string | undefined, limits: PromptLimits): PromptSet {
  if (file === undefined) return clip(builtIn, 'built-in chats', limits);
  const bytes = readInput(file);
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const lines = (isGzip ? gunzipSync(bytes) : bytes).toString('utf8').split('\n').filter(hasText);
  if (lines.length === 0) throw new UsageError(`${file}: there is no prompt in it`);
  if (!lines[0]!.startsWith('{'))
    return clip(
      lines.map((line) => [line]),
      'lines',
      limits,
    );
  return clip(readSessions(lines, file), 'sessions', limits);
}

function hasText(text: string): boolean {
  return text.trim() !== '';
}

/**
 * Sessions of recorded requests, one JSON object a line: `{ session, input }`, each input repeating the one
 * before. A turn says what an input adds to the last; an input that adds nothing gives no turn.
 */
function readSessions(lines: readonly string[], file: string): string[][] {
  const sessions = new Map<string, { turns: string[]; last: string }>();
  lines.forEach((line, index) => {
    const { session, input } = parseLine(line, `${file}:${index + 1}`);
    const known = sessions.get(session) ?? { turns: [], last: '' };
    sessions.set(session, known);
    if (input.startsWith(known.last) && hasText(input.slice(known.last.length))) {
      known.turns.push(input.slice(known.last.length));
      known.last = input;
    }
  });
  return [...sessions.values()].map(({ turns }) => turns);
}

function parseLine(line: string, where: string): { session: string; input: string } {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new UsageError(`${where}: the first line looks like JSON, this one is not`);
  }
  const { session, input } = value as Record<string, unknown>;
  if (typeof session !== 'string' || typeof input !== 'string') {
    throw new UsageError(`${where}: expected an object with "session" and "input"`);
  }
  return { session, input };
}

function clip(
  chats: readonly (readonly string[])[],
  what: string,
  limits: PromptLimits,
): PromptSet {
  const encoder = new TextEncoder();
  let cut = 0;
  const turn = (text: string): Tokens => {
    const bytes = encoder.encode(text);
    if (bytes.length > limits.promptTokens) cut++;
    return Uint32Array.from([
      ...encoder.encode('\n\nGuest: '),
      ...bytes.subarray(0, limits.promptTokens),
      ...encoder.encode('\n\nClerk: '),
    ]);
  };
  const conversations = chats.slice(0, limits.chats).map((texts) => ({
    turns: Array.from({ length: limits.turns }, (_, i) =>
      turn(texts[i] ?? followUps[i % followUps.length]!),
    ),
  }));
  const notes = [];
  if (chats.length > conversations.length) {
    notes.push(`${conversations.length} of ${chats.length} ${what} taken (--chats)`);
  }
  if (cut > 0) notes.push(`${cut} texts cut to ${limits.promptTokens} tokens (--prompt-tokens)`);
  return { system: Uint32Array.from(encoder.encode(systemPrompt)), conversations, notes };
}

/** Tokens of a chat's last turn, reply included: the longest that one of its sequences gets. */
export function longestCase(system: Tokens, chat: Conversation, newTokens: number): number {
  return chat.turns.reduce((sum, turn) => sum + turn.length + newTokens, system.length);
}
