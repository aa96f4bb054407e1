/** A paragraph above this many characters is left as it is: looking at it at every frame would cost too much. */
const LIMIT = 4000;

/** Where a paragraph, a list item or a heading begins: emphasis does not reach beyond it. */
const BEGINS = /\n(?=[ \t]*(?:\n|[-*+][ \t]|\d{1,9}[.)][ \t]|#{1,6}[ \t]|>))/g;

/**
 * Completes what is half written at the end of a text that is still arriving, so that markers do not flash:
 * an open bold, strike-through or code span is closed, half a link shows its label, and a lone `-` under a
 * line (which Markdown reads as a heading until the list item goes on) waits.
 */
export function mend(source: string): string {
  const text = source.replace(/\n[ \t]{0,8}[-=]{1,2}[ \t]{0,8}$/, '\n');
  let start = 0;
  for (const match of text.matchAll(BEGINS)) start = match.index + 1;
  const end = text.slice(start);
  return end.length > LIMIT ? text : text.slice(0, start) + close(withoutHalfLink(end));
}

function withoutHalfLink(text: string): string {
  const middle = text.lastIndexOf('](');
  if (middle < 0 || /[)\n]/.test(text.slice(middle))) return text;
  const open = text.lastIndexOf('[', middle);
  if (open < 0 || text.slice(open, middle).includes(']')) return text;
  const before = text.charAt(open - 1) === '!' ? open - 1 : open;
  return text.slice(0, before) + text.slice(open + 1, middle);
}

/** Appends the closing marks that are missing, the innermost first; a mark with nothing behind it is taken away. */
function close(text: string): string {
  const open: string[] = [];
  let at = 0;
  while (at < text.length) {
    const sign = text.charAt(at);
    if (sign === '\\') {
      at += 2;
    } else if (sign === '`') {
      const run = /^`+/.exec(text.slice(at))?.[0] ?? sign;
      const end = endOfCode(text, at + run.length, run.length);
      if (end < 0) return text.length === at + run.length ? text.slice(0, at) : text + run;
      at = end;
    } else if ((sign === '*' || sign === '~') && text.charAt(at + 1) === sign) {
      toggle(open, sign + sign, text.charAt(at - 1), text.charAt(at + 2));
      at += 2;
    } else {
      at += 1;
    }
  }
  return open.reduceRight(append, text);
}

function endOfCode(text: string, from: number, length: number): number {
  for (const match of text.slice(from).matchAll(/`+/g)) {
    if (match[0].length === length) return from + match.index + length;
  }
  return -1;
}

function toggle(open: string[], mark: string, before: string, after: string): void {
  const index = open.lastIndexOf(mark);
  if (index >= 0 && before.trim() !== '') open.splice(index, 1);
  else if (index < 0 && (after === '' || after.trim() !== '')) open.push(mark);
}

function append(text: string, mark: string): string {
  if (text.endsWith(mark)) return text.slice(0, -mark.length);
  const trimmed = text.trimEnd();
  // Half of the closing mark may be there already.
  const half = mark.charAt(0);
  return trimmed.endsWith(half) ? trimmed + half : trimmed + mark;
}
