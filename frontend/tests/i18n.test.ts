import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { languageOf, translator } from '../src/i18n/catalog';
import en from '../src/i18n/en.json';
import zhHans from '../src/i18n/zh-hans.json';

const names = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!).sort();
const english = en as Record<string, string>;
const chinese = zhHans as Record<string, string>;

function sources(): string {
  const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((name) => /\.tsx?$/.test(name));
  return files.map((name) => readFileSync(`src/${name}`, 'utf8')).join('\n');
}

describe('the catalogs', () => {
  it('have the same keys in the same order', () => {
    expect(Object.keys(zhHans)).toEqual(Object.keys(en));
  });

  it.each(Object.keys(en))('%s: nothing empty, the same values', (key) => {
    expect(english[key]?.trim()).toBeTruthy();
    expect(chinese[key]?.trim()).toBeTruthy();
    expect(names(chinese[key]!)).toEqual(names(english[key]!));
  });

  it('say something about every error code that the chat page may meet', () => {
    const found = [...readFileSync('../core/errors.py', 'utf8').matchAll(/^ {4}"([a-z_]+)": /gm)];
    // What a sign-in with a provider ends in is said by a page of the portal.
    const codes = found.map((match) => match[1]!).filter((code) => !code.startsWith('identity_'));
    expect(codes.length).toBeGreaterThan(30);
    for (const code of codes) expect(en).toHaveProperty([`failure.${code}`]);
  });

  it('have no text that nothing uses', () => {
    const code = sources();
    const unused = Object.keys(en).filter((key) => !/^(failure|line)\./.test(key) && !code.includes(`'${key}'`));
    expect(unused).toEqual([]);
  });
});

describe('translator', () => {
  it('fills values in, and leaves what it was not given', () => {
    const t = translator('en');
    expect(t('list.rename', { title: 'a {b}' })).toBe('Rename “a {b}”');
    expect(t('message.retryIn', {})).toContain('{seconds}');
    expect(translator('zh-hans')('toast.undo')).toBe('撤销');
  });

  it('takes every Chinese for Chinese', () => {
    expect(['zh-hans', 'zh-CN', 'zh', 'ZH-Hant'].map(languageOf)).toEqual(Array(4).fill('zh-hans'));
    expect(['en', 'en-GB', 'de', ''].map(languageOf)).toEqual(Array(4).fill('en'));
  });
});
