import { describe, expect, it } from 'vitest';
import { formulaOf, withFormulas } from '../../src/markdown/formulas';

/** The formulas of a text, displayed ones in brackets; what is left of it. */
function found(source: string): [string[], string] {
  const formulas: string[] = [];
  const rest = withFormulas(source).replace(/`(\uE0F1[^`]*)`/g, (_, code: string) => {
    const { tex, display } = formulaOf(code)!;
    formulas.push(display ? `[${tex}]` : tex);
    return '#';
  });
  return [formulas, rest];
}

describe('formulas', () => {
  it.each([
    ['a $x^2$ b', ['x^2'], 'a # b'],
    ['$a_1$ and $b_2$.', ['a_1', 'b_2'], '# and #.'],
    ['\\(a|b\\) \\[ x = 1 \\]', ['a|b', '[x = 1]'], '# #'],
    ['$$\nx\n= 2\n$$ $$y$$', ['[x\n= 2]', '[y]'], '# #'],
    ['| $|x|$ | 1 |', ['|x|'], '| # | 1 |'],
    ['中文$x$中文', ['x'], '中文#中文'],
    ['costs \\$5, $n$ of them', ['n'], 'costs \\$5, # of them'],
    ['$\\$5$', ['\\$5'], '#'],
  ])('%s', (source, formulas, rest) => {
    expect(found(source)).toEqual([formulas, rest]);
  });

  it.each([
    'between $5 and $10', '$5-$10', 'US$5 or A$6', '$HOME and $PATH', 'a $ b $ c', '$$', '$ $', '\\[not a formula\\]', '\\(', '\\[ x = ',
    '`$x$` and ``\\(a\\) ` $y$``', '```\n$x$\n```', 'no end $x', '$a\n\nb$', '$a\nb$', '$$a\n\nb$$', `$${'x'.repeat(3000)}$`, 'plain',
  ])('leaves %s as it is', (source) => {
    expect(withFormulas(source)).toBe(source);
  });

  it('takes code for code, also where it is made to look like one', () => {
    expect(formulaOf('x')).toBeNull();
    expect(formulaOf('\uE0F1i%zz')).toBeNull();
    expect(withFormulas('$\ud800x$')).toBe('$\ud800x$');
  });

  it('does not choke on what never ends', () => {
    for (const piece of ['$', '\\(', '\\[', '`$', '``$', '$a ']) {
      expect(withFormulas(piece.repeat(2_000))).toHaveLength(piece.length * 2_000);
    }
  });
});
