import { describe, expect, it } from 'vitest';
import { Heights, nextSpan, rowsBetween } from '../../src/ui/rows';

const keys = Array.from({ length: 100 }, (_, index) => `k${index}`);

describe('rows', () => {
  it('are found by where they are, before and after they have been measured', () => {
    const heights = new Heights(() => 100);
    expect(rowsBetween(keys, heights, 250, 600)).toEqual({ begin: 2, end: 6 });
    expect(heights.learn('k0', 1000)).toBe(900);
    expect(heights.learn('k1', 1000)).toBe(0); // the guess has become as wrong as it was
    expect(rowsBetween(keys, heights, 0, 10)).toEqual({ begin: 0, end: 1 });
    expect(rowsBetween(keys, heights, -500, -1)).toEqual({ begin: 0, end: 1 });
    expect(rowsBetween(keys, heights, 1e9, 2e9)).toEqual({ begin: 99, end: 100 });
    expect(rowsBetween([], heights, 0, 10)).toEqual({ begin: 0, end: 0 });
    expect(heights.sum(keys, 0, 3)).toBe(3000);
  });

  it('come a few at a time, those in view first, and leave at once', () => {
    const wanted = { begin: 40, end: 60 };
    const inView = { begin: 48, end: 53 };
    let span = nextSpan({ begin: 0, end: 5 }, wanted, inView, 3);
    expect(span).toEqual({ begin: 48, end: 51 });
    span = nextSpan(span, wanted, inView, 3);
    expect(span).toEqual({ begin: 48, end: 54 });
    for (let step = 0; step < 9; step += 1) span = nextSpan(span, wanted, inView, 3);
    expect(span).toEqual(wanted);
    expect(nextSpan(wanted, { begin: 50, end: 52 }, { begin: 50, end: 52 }, 3)).toEqual({ begin: 50, end: 52 });
  });
});
