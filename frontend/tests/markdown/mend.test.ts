import { describe, expect, it } from 'vitest';
import { mend } from '../../src/markdown/mend';

describe('mend', () => {
  it.each([
    ['plain text', 'plain text'],
    ['some **bold', 'some **bold**'],
    ['some **bold*', 'some **bold**'],
    ['some **', 'some '],
    ['**done** and **more', '**done** and **more**'],
    ['a ~~gone', 'a ~~gone~~'],
    ['call `f(', 'call `f(`'],
    ['call `', 'call '],
    ['a `b` and **c', 'a `b` and **c**'],
    ['`a ** b`', '`a ** b`'],
    ['see [label](https://exa', 'see label'],
    ['see ![pic](https://exa', 'see pic'],
    ['see [label](https://a.example) ok', 'see [label](https://a.example) ok'],
    ['Steps:\n-', 'Steps:\n'],
    ['Steps:\n- one', 'Steps:\n- one'],
    ['2 * 3 * 4', '2 * 3 * 4'],
  ])('%j -> %j', (source, mended) => {
    expect(mend(source)).toBe(mended);
  });

  it('is quick on hostile text', () => {
    for (const unit of ['**', '`', '[', '![a](', '~~', '``', '[a](b']) {
      const begin = performance.now();
      mend(unit.repeat(4000));
      expect(performance.now() - begin).toBeLessThan(500);
    }
  });
});
