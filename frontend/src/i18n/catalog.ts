import en from './en.json';
import zhHans from './zh-hans.json';

export type Language = 'en' | 'zh-hans';
export type MessageKey = keyof typeof en;
export type Values = Record<string, string | number>;

/** A text that is looked up when it is shown, so that it follows a change of language. */
export interface Message {
  key: MessageKey;
  values?: Values;
}

export type Translate = (key: MessageKey, values?: Values) => string;

const CATALOGS: Record<Language, Record<MessageKey, string>> = { en, 'zh-hans': zhHans };

/** The tag for `lang`, Intl and fonts. */
export const LOCALES: Record<Language, string> = { en: 'en', 'zh-hans': 'zh-Hans' };

/** Django says `zh-hans`, a browser `zh-CN` or `zh`: every Chinese is the one we have. */
export function languageOf(code: string): Language {
  return code.toLowerCase().startsWith('zh') ? 'zh-hans' : 'en';
}

export function translator(language: Language): Translate {
  const catalog = CATALOGS[language];
  return (key, values) => {
    const text = catalog[key];
    if (!values) return text;
    return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
  };
}

export function hasKey(key: string): key is MessageKey {
  return Object.hasOwn(en, key);
}
