import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Progress, type LineStream } from '../src/cli/progress.js';

class Recorded implements LineStream {
  readonly columns = 20;
  text = '';

  constructor(readonly isTTY: boolean) {}

  write(text: string): void {
    this.text += text;
  }
}

/** One call every 100 ms, 100 times. */
function run(stream: LineStream, isForPrograms: boolean): Progress {
  const progress = new Progress(isForPrograms, stream);
  for (let i = 1; i <= 100; i++) {
    vi.advanceTimersByTime(100);
    progress.show(() => `${i} of 100 and a long tail`);
  }
  return progress;
}

describe('progress', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
  afterEach(() => void vi.useRealTimers());

  it('is one line on a terminal, cut to its width and taken away in the end', () => {
    const stream = new Recorded(true);
    run(stream, true).clear();
    expect(stream.text.split('\r\x1b[K')).toHaveLength(1 + 100 + 1);
    expect(stream.text).toContain('\r\x1b[K7 of 100 and a long\r');
    expect(stream.text).toMatch(/\r\x1b\[K$/);
    expect(stream.text).not.toContain('\n');
  });

  it('is a line now and then elsewhere', () => {
    const stream = new Recorded(false);
    run(stream, false).clear();
    expect(stream.text).toBe('50 of 100 and a long tail\n100 of 100 and a long tail\n');
  });

  it('is silent where a program reads the result and nobody watches', () => {
    const stream = new Recorded(false);
    run(stream, true).clear();
    expect(stream.text).toBe('');
  });
});
