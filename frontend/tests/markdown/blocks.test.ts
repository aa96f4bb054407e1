import { describe, expect, it } from 'vitest';
import { splitBlocks } from '../../src/markdown/blocks';

const sources = (source: string) => splitBlocks(source).map((block) => (block.kind === 'code' ? block : block.source));

describe('splitBlocks', () => {
  it('cuts at blank lines between paragraphs', () => {
    expect(sources('one\nstill\n\ntwo\n\n\n# three')).toEqual(['one\nstill', 'two', '# three']);
  });

  it('keeps a list together, with its blank lines, its continuation and its nested fence', () => {
    const list = '1. a\n\n   more\n\n2. b\n   ```\n   x\n   ```\n\n3. c';
    expect(sources(`${list}\n\nafter`)).toEqual([list, 'after']);
    expect(sources('Intro:\n- a\n\n- b')).toHaveLength(1);
  });

  it('takes fences out, with language, and dedents by the fence’s own indent', () => {
    expect(sources('a\n```py x=1\n  b\n\n```\nc')).toEqual([
      'a',
      { kind: 'code', language: 'py', code: '  b\n', closed: true },
      'c',
    ]);
    expect(sources('  ~~~\n    x\n  ~~~')).toEqual([{ kind: 'code', language: '', code: '  x', closed: true }]);
  });

  it('closes a fence only by one of its own kind that is as long', () => {
    expect(sources('````\n```\n~~~\n`````')).toEqual([
      { kind: 'code', language: '', code: '```\n~~~', closed: true },
    ]);
  });

  it('shows an open fence as code already', () => {
    expect(sources('```js\nlet a')).toEqual([{ kind: 'code', language: 'js', code: 'let a', closed: false }]);
  });

  it('leaves a text with definitions in one piece', () => {
    const source = 'see [x][1]\n\nmore\n\n[1]: https://a.example';
    expect(sources(source)).toEqual([source]);
  });

  it('never changes a block that is behind the last one while text arrives', () => {
    const text = 'Intro\n\n- a\n- b\n\n1. c\n\n   d\n\n```js\nx\n\ny\n```\n\n> q\n\n| a |\n|---|\n| b |\n\nend';
    for (let end = 1; end < text.length; end += 1) {
      const before = splitBlocks(text.slice(0, end)).slice(0, -2);
      expect(splitBlocks(text).slice(0, before.length)).toEqual(before);
    }
  });
});
