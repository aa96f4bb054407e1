/** Marks a code span that stands for a formula: a sign for private use, so that no text has it by chance. */
const MARK = '\uE0F1';
/** A formula is not longer than this; beyond, a lone dollar sign would reach far. */
const MOST_CHARS = 2000;
const MAY_HOLD = /\$|\\[([]/;
/** What a bracketed text must have to be a formula, as Markdown writes `\[` for a plain bracket too. */
const FORMAL = /[\\^_=+<>\n]/;

export interface Formula {
  tex: string;
  display: boolean;
}

/**
 * Puts a code span in the place of each formula: `$$...$$`, `\[...\]`, `\(...\)`, and `$...$` where the dollar signs are
 * no prices (nothing but the formula's own signs beside them, and no digit behind). Markdown leaves code spans as they
 * are, so `_` and `|` in a formula stay what they are. Code is not looked into.
 */
export function withFormulas(source: string): string {
  if (!MAY_HOLD.test(source)) return source;
  let made = '';
  let at = 0;
  // Runs of backticks with none of the same length behind them: each is looked for once, however many there are.
  const unclosed = new Set<number>();
  while (at < source.length) {
    const sign = source.charAt(at);
    const found = sign === '`' ? codeAt(source, at, unclosed) : sign === '$' || sign === '\\' ? formulaAt(source, at) : null;
    if (found) {
      made += found.text;
      at = found.end;
    } else {
      const length = sign === '\\' ? 2 : 1;
      made += source.slice(at, at + length);
      at += length;
    }
  }
  return made;
}

/** The formula that a code span stands for; null: it is code. */
export function formulaOf(code: string): Formula | null {
  if (!code.startsWith(MARK)) return null;
  try {
    return { tex: decodeURIComponent(code.slice(2)), display: code.charAt(1) === 'd' };
  } catch {
    return null;
  }
}

interface Found {
  text: string;
  end: number;
}

/** A code span or a fence inside a list, as it is. */
function codeAt(source: string, at: number, unclosed: Set<number>): Found {
  const run = /`+/y;
  run.lastIndex = at;
  const mark = run.exec(source)?.[0] ?? '`';
  const after = at + mark.length;
  if (!unclosed.has(mark.length)) {
    const same = new RegExp(`(?<!\`)${mark}(?!\`)`, 'g');
    same.lastIndex = after;
    const match = same.exec(source);
    if (match) return { text: source.slice(at, match.index + mark.length), end: match.index + mark.length };
    unclosed.add(mark.length);
  }
  return { text: mark, end: after };
}

function formulaAt(source: string, at: number): Found | null {
  const two = source.slice(at, at + 2);
  if (two === '$$') return between(source, at, '$$', true, () => true);
  if (two === '\\[') return between(source, at, '\\]', true, (tex) => FORMAL.test(tex));
  if (two === '\\(') return between(source, at, '\\)', false, () => true);
  return source.charAt(at) === '$' ? dollars(source, at) : null;
}

function between(source: string, at: number, close: string, display: boolean, fits: (tex: string) => boolean): Found | null {
  const ahead = source.slice(at + 2, at + 2 + MOST_CHARS + close.length);
  const length = ahead.indexOf(close);
  const end = at + 2 + length;
  const tex = ahead.slice(0, Math.max(0, length));
  if (tex.trim() === '' || /\n[ \t]*\n/.test(tex) || !fits(tex)) return null;
  return span(tex.trim(), display, end + close.length);
}

function dollars(source: string, at: number): Found | null {
  if (/[\w$]/.test(source.charAt(at - 1)) || !/\S/.test(source.charAt(at + 1))) return null;
  for (let end = at + 1; end < source.length && end - at < MOST_CHARS; end += 1) {
    const sign = source.charAt(end);
    if (sign === '\n' || sign === '`') return null;
    if (sign === '\\') end += 1;
    else if (sign === '$') {
      const closes = /\S/.test(source.charAt(end - 1)) && !/[\d$]/.test(source.charAt(end + 1));
      return closes && end > at + 1 ? span(source.slice(at + 1, end), false, end + 1) : null;
    }
  }
  return null;
}

function span(tex: string, display: boolean, end: number): Found | null {
  try {
    return { text: `\`${MARK}${display ? 'd' : 'i'}${encodeURIComponent(tex)}\``, end };
  } catch {
    return null; // half a character
  }
}
