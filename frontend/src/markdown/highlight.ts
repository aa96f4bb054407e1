import type { Grammar } from './languages';

/** k keyword, s string, c comment, n number, f function; '' is plain. */
export type TokenClass = '' | 'k' | 's' | 'c' | 'n' | 'f';
export type Token = readonly [TokenClass, string];

export interface Line {
  text: string;
  /** The closing mark of the construct that the line begins in, '' for none. */
  before: string;
  after: string;
  tokens: readonly Token[];
}

/** A block above this many characters is shown plain: its colours would cost more than they are worth. */
export const HIGHLIGHT_LIMIT = 60_000;

/** Colours a block line by line; lines that did not change since `previous` are the same objects. */
export function highlight(code: string, grammar: Grammar, previous: readonly Line[]): Line[] {
  const lines: Line[] = [];
  let before = '';
  for (const text of code.split('\n')) {
    const old = previous[lines.length];
    const line = old && old.text === text && old.before === before ? old : scan(text, before, grammar);
    lines.push(line);
    before = line.after;
  }
  return lines;
}

const PATTERNS = new WeakMap<Grammar, RegExp>();

/** What may begin something at a place in a line; each alternative is linear, none can backtrack far. */
function patternOf(grammar: Grammar): RegExp {
  let pattern = PATTERNS.get(grammar);
  if (!pattern) {
    const spans = grammar.spans.map(([open]) => escape(open));
    const comments = grammar.comments.map(escape);
    const strings = [...grammar.quotes].map((quote) => `${quote}(?:[^${quote}\\\\]|\\\\.)*${quote}?`);
    const parts = [
      spans.length > 0 ? `(?<span>${spans.join('|')})` : '(?<span>(?!))',
      comments.length > 0 ? `(?<comment>(?:${comments.join('|')}).*)` : '(?<comment>(?!))',
      `(?<string>${strings.join('|')})`,
      '(?<number>\\b\\d[\\d_.]*(?:[eE][+-]?\\d+)?\\w*)',
      '(?<word>[A-Za-z_$][\\w$]*)',
    ];
    pattern = new RegExp(parts.join('|'), 'g');
    PATTERNS.set(grammar, pattern);
  }
  return pattern;
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function scan(text: string, before: string, grammar: Grammar): Line {
  const tokens: [TokenClass, string][] = [];
  const add = (kind: TokenClass, part: string): void => {
    const last = tokens.at(-1);
    if (part === '') return;
    if (last && last[0] === kind) last[1] += part;
    else tokens.push([kind, part]);
  };
  let at = 0;
  let after = '';
  const runTo = (close: string, kind: TokenClass, from: number): void => {
    const end = text.indexOf(close, from);
    const stop = end < 0 ? text.length : end + close.length;
    add(kind, text.slice(at, stop));
    at = stop;
    after = end < 0 ? close : '';
  };
  if (before !== '') runTo(before, grammar.spans.find(([, close]) => close === before)?.[2] ?? 's', 0);
  const pattern = patternOf(grammar);
  while (at < text.length) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (!match) break;
    add('', text.slice(at, match.index));
    at = match.index;
    const span = grammar.spans.find(([open]) => open === match.groups?.span);
    if (span) {
      runTo(span[1], span[2], at + span[0].length);
    } else {
      add(classOf(match, text, grammar), match[0]);
      at += match[0].length;
    }
  }
  add('', text.slice(at));
  return { text, before, after, tokens };
}

function classOf(match: RegExpExecArray, text: string, grammar: Grammar): TokenClass {
  const groups = match.groups ?? {};
  if (groups.comment !== undefined) {
    // `http://` and `a#b` are no comments: one begins a line or follows a space or a bracket.
    return match.index === 0 || /[\s;,(){}[\]]/.test(text.charAt(match.index - 1)) ? 'c' : '';
  }
  if (groups.string !== undefined) return 's';
  if (groups.number !== undefined) return 'n';
  const word = match[0];
  if (grammar.keywords.has(grammar.ignoreCase ? word.toLowerCase() : word)) return 'k';
  return text.charAt(match.index + word.length) === '(' ? 'f' : '';
}
