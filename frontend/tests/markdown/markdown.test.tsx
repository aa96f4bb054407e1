import { renderToStaticMarkup } from 'react-dom/server';
import { describe, expect, it } from 'vitest';
import { LanguageProvider } from '../../src/i18n/language';
import type { Language } from '../../src/i18n/catalog';
import { Markdown } from '../../src/markdown/Markdown';
import { Observable } from '../../src/store/observable';

const english = new Observable<Language>('en');

function render(source: string, live = false): HTMLElement {
  const html = renderToStaticMarkup(
    <LanguageProvider source={english}>
      <Markdown source={source} live={live} />
    </LanguageProvider>,
  );
  return new DOMParser().parseFromString(html, 'text/html').body;
}

/** Everything in a document that could make the browser ask somebody for something, or run something. */
function dangers(body: HTMLElement): string[] {
  const found: string[] = [];
  for (const element of body.querySelectorAll('*')) {
    const name = element.tagName.toLowerCase();
    const loads = ['img', 'script', 'iframe', 'object', 'embed', 'link', 'style', 'video', 'audio', 'source', 'form', 'base', 'meta'];
    // The page's own icons are inline drawings.
    if (loads.includes(name)) found.push(name);
    for (const { name: attribute, value } of element.attributes) {
      if (attribute.startsWith('on') || attribute === 'srcset' || attribute === 'src') found.push(attribute);
      if (attribute === 'href' && !/^(https?:|mailto:|#)/.test(value)) found.push(`href ${value}`);
      if (attribute === 'style') found.push(`style ${value}`);
    }
  }
  return found;
}

describe('Markdown safety', () => {
  const attacks = [
    '![x](https://tracker.example/a.png)',
    '![x][ref]\n\n[ref]: https://tracker.example/a.png',
    '![x](data:image/svg+xml;base64,AAAA)',
    '[x](javascript:alert(1))',
    '[x](JaVaScRiPt:alert(1))',
    '[x](&#106;avascript:alert(1))',
    '[x](java\tscript:alert(1))',
    '[x](vbscript:x) [y](data:text/html,hi) [z](file:///etc/passwd) [b](blob:https://x/y)',
    '<javascript:alert(1)>',
    '[x](/logout/) [y](//evil.example/x) [z](page) [w](\\\\evil.example)',
    '<img src=x onerror=alert(1)>',
    'text <script>alert(1)</script> text',
    '<iframe src="https://evil.example"></iframe>',
    '<a href="javascript:alert(1)" onclick="x()">x</a>',
    '<style>body{background:url(https://evil.example)}</style>',
    '<svg onload=alert(1)><use href="https://evil.example#x"/></svg>',
    '| a |\n|---|\n| <img src=x onerror=alert(1)> |',
    '- item\n  <form action=https://evil.example><input name=q></form>',
    '[^1]\n\n[^1]: <img src=https://evil.example>',
  ];

  it.each(attacks)('%j loads and runs nothing', (source) => {
    expect(dangers(render(source))).toEqual([]);
    expect(dangers(render(source, true))).toEqual([]);
    for (let end = 1; end < source.length; end += 1) expect(dangers(render(source.slice(0, end), true))).toEqual([]);
  });

  it('finds what it looks for', () => {
    const body = document.createElement('div');
    body.innerHTML = '<img src="https://x/y"><a href="javascript:x" onclick="x">x</a><b style="color:red">x</b>';
    expect(dangers(body)).toEqual(['img', 'src', 'href javascript:x', 'onclick', 'style color:red']);
  });

  it('shows an image as a link that names its host', () => {
    const link = render('![a cat](https://pics.example:8443/cat.png)').querySelector('a')!;
    expect(link.textContent).toBe('Image: a cat(pics.example:8443)');
    expect([link.target, link.rel]).toEqual(['_blank', 'noopener noreferrer']);
  });

  it('names the true host of a link, also where its text lies', () => {
    const shown = (source: string) => render(source).querySelector('a')!.textContent;
    expect(shown('[click](https://evil.example/x)')).toBe('click(evil.example)');
    expect(shown('[https://bank.example](https://evil.example/x)')).toBe('https://bank.example(evil.example)');
    expect(shown('[bank](https://bank.example@evil.example/)')).toBe('bank(evil.example)');
    expect(shown('[a](https://bаnk.example/)')).toContain('xn--');
    expect(shown('https://plain.example/path')).toBe('https://plain.example/path');
    expect(shown('[mail](mailto:a@b.example)')).toBe('mail(a@b.example)');
  });

  it('removes a link that goes nowhere good and keeps its text', () => {
    const body = render('before [label](javascript:x) after');
    expect(body.querySelector('a')).toBeNull();
    expect(body.textContent).toContain('before label (link removed) after');
  });

  it('shows HTML as text, and only takes a line break for one', () => {
    const body = render('<div class="a">hi</div>\n\none<br>two <b>bold</b>');
    expect(body.textContent).toContain('<div class="a">hi</div>');
    expect(body.textContent).toContain('<b>bold</b>');
    expect(body.querySelectorAll('br')).toHaveLength(1);
    expect(body.querySelector('b')).toBeNull();
  });
});

describe('Markdown', () => {
  it('renders tables, task lists, strike-through and headings below the page’s own', () => {
    const body = render('# Title\n\n| a |\n|---|\n| 1 |\n\n- [x] done\n\n~~gone~~ a~b~c');
    expect(body.querySelector('h3')?.textContent).toBe('Title');
    expect(body.querySelector('td')?.textContent).toBe('1');
    expect(body.querySelector('input[type=checkbox]')?.hasAttribute('disabled')).toBe(true);
    expect(body.querySelector('del')?.textContent).toBe('gone');
  });

  it('keeps code as it is, with its language and a copy button', () => {
    const code = '  if a < b:\n\treturn "<b>"  # no';
    const body = render(`\`\`\`python\n${code}\n\`\`\``);
    expect(body.querySelector('.code-language')?.textContent).toBe('python');
    expect(body.querySelector('pre')?.textContent).toBe(`${code}\n`);
    expect(body.querySelector('.tok-k')?.textContent).toBe('if');
    expect(body.querySelector('button')).not.toBeNull();
  });

  it('renders code inside a list and an indented block', () => {
    const body = render('1. step\n\n   ```sh\n   ls\n   ```\n\n2. next\n\ntext\n\n    indented');
    expect([...body.querySelectorAll('pre')].map((pre) => pre.textContent?.trim())).toEqual(['ls', 'indented']);
    expect(body.querySelectorAll('ol')).toHaveLength(1);
  });

  it('links footnotes to their notes', () => {
    const body = render('Text[^1].\n\n[^1]: Note.');
    const target = body.querySelector('sup a')!.getAttribute('href')!;
    expect(body.querySelector(`[id="${target.slice(1)}"]`)).not.toBeNull();
  });
});
