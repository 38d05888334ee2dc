import { describe, expect, it } from 'vitest';
import { fillNormal, keyOf, uniform } from '../examples/chat/random.js';
import { draw } from '../examples/chat/sampling.js';

describe('sampling of the chat example', () => {
  it('draws from the softmax', () => {
    const logits = Float32Array.of(0, 1, 2, -1);
    const temperature = 0.8;
    const weights = Array.from(logits, (logit) => Math.exp(logit / temperature));
    const sum = weights.reduce((a, b) => a + b);
    const draws = 20_000;
    const counts = [0, 0, 0, 0];
    for (let place = 0; place < draws; place++)
      counts[draw(logits, 0, 4, temperature, 7, place).id]!++;
    weights.forEach((weight, id) => {
      expect(Math.abs(counts[id]! / draws - weight / sum)).toBeLessThan(0.015);
    });
  });

  it('draws the same for the same key and place, whatever was drawn before', () => {
    const logits = fillNormal(new Float32Array(512), 3, 2);
    const all = [0, 1, 2, 3].map((place) => draw(logits, 1, 256, 0.9, keyOf(1, 2), place));
    expect(draw(logits, 1, 256, 0.9, keyOf(1, 2), 2)).toEqual(all[2]);
    expect(new Set(all.map(({ id }) => id)).size).toBeGreaterThan(1);
    expect(all.every(({ id, logit, margin }) => logits[256 + id] === logit && margin >= 0)).toBe(
      true,
    );
  });

  it('refuses logits that are no numbers', () => {
    expect(() => draw(new Float32Array(4).fill(NaN), 0, 4, 1, 1, 0)).toThrow('garbage');
  });

  it('has noise that is uniform', () => {
    const tenths = new Array<number>(10).fill(0);
    for (let i = 0; i < 10_000; i++) tenths[Math.floor(uniform(keyOf(5), i) * 10)]!++;
    expect(tenths.every((count) => Math.abs(count - 1000) < 130)).toBe(true);
  });
});
