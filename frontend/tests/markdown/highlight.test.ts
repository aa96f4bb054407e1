import { describe, expect, it } from 'vitest';
import { highlight } from '../../src/markdown/highlight';
import { grammarOf } from '../../src/markdown/languages';

function coloured(code: string, language: string): string[] {
  const lines = highlight(code, grammarOf(language)!, []);
  return lines.map((line) => line.tokens.map(([kind, text]) => (kind ? `${kind}(${text})` : text)).join(''));
}

describe('highlight', () => {
  it('colours keywords, strings, comments, numbers and calls', () => {
    expect(coloured('def f(x): return "a#b" + 1  # why', 'python')).toEqual([
      'k(def) f(f)(x): k(return) s("a#b") + n(1)  c(# why)',
    ]);
  });

  it('carries what spans lines', () => {
    expect(coloured('a /* one\ntwo */ b', 'ts')).toEqual(['a c(/* one)', 'c(two */) b']);
    expect(coloured('"""doc\nif\n""" if', 'py')).toEqual(['s("""doc)', 's(if)', 's(""") k(if)']);
  });

  it('does not take an address for a comment, and reads SQL in any case', () => {
    expect(coloured('https://x', 'js')).toEqual(['https://x']);
    expect(coloured('SELECT a -- b', 'sql')).toEqual(['k(SELECT) a c(-- b)']);
  });

  it('changes no character', () => {
    const code = 'x = "unclosed\n`a ${b}` /* c\n\t\'\\\'\' 0x1F é 中文 <!-- -->\n';
    for (const name of ['js', 'python', 'html', 'sql', 'rust', 'bash', 'json', 'css']) {
      const lines = highlight(code, grammarOf(name)!, []);
      expect(lines.map((line) => line.tokens.map(([, text]) => text).join('')).join('\n')).toBe(code);
    }
  });

  it('keeps the lines that did not change', () => {
    const grammar = grammarOf('js')!;
    const before = highlight('let a\nlet b', grammar, []);
    const after = highlight('let a\nlet bc\n', grammar, before);
    expect(after[0]).toBe(before[0]);
    expect(after[1]).not.toBe(before[1]);
  });

  it('knows no grammar for a name that is none', () => {
    expect(grammarOf('constructor')).toBeNull();
    expect(grammarOf('')).toBeNull();
  });

  it('is quick on hostile code', () => {
    for (const unit of ['"\\', "'", '/*', '"""', 'a.', '1_', '`']) {
      const begin = performance.now();
      highlight(unit.repeat(20_000), grammarOf('python')!, []);
      highlight(unit.repeat(20_000), grammarOf('js')!, []);
      expect(performance.now() - begin).toBeLessThan(1000);
    }
  });
});
