interface HastNode {
  type: string;
  value?: string;
  tagName?: string;
  properties?: Record<string, unknown>;
  children?: HastNode[];
}

/** `[3]`, and `[1, 3]`. */
const CITED = /\[(\d{1,3}(?:\s*[,，]\s*\d{1,3})*)\]/g;
const UNTOUCHED: ReadonlySet<string> = new Set(['code', 'pre', 'a', 'cite']);

/** The numbers that a text cites, in the order of their first mention. */
export function citedNumbers(text: string): number[] {
  const found = [...text.matchAll(CITED)].flatMap((match) => numbersOf(match[1]!));
  return [...new Set(found)];
}

/**
 * A rehype plug-in, after the sanitiser: numbers in square brackets become `<cite data-n>`. Whether there is such a
 * source, the component knows that shows it.
 */
export function rehypeCites() {
  return (tree: HastNode): void => visit(tree);
}

function visit(node: HastNode): void {
  if (!node.children || UNTOUCHED.has(node.tagName ?? '')) return;
  node.children = node.children.flatMap((child) => (child.type === 'text' ? cut(child) : [child]));
  for (const child of node.children) visit(child);
}

function cut(node: HastNode): HastNode[] {
  const text = node.value ?? '';
  const parts: HastNode[] = [];
  let at = 0;
  for (const match of text.matchAll(CITED)) {
    parts.push({ type: 'text', value: text.slice(at, match.index) });
    for (const n of numbersOf(match[1]!)) {
      parts.push({ type: 'element', tagName: 'cite', properties: { dataN: String(n) }, children: [{ type: 'text', value: `[${n}]` }] });
    }
    at = match.index + match[0].length;
  }
  if (at === 0) return [node];
  return [...parts, { type: 'text', value: text.slice(at) }].filter((part) => part.type !== 'text' || part.value !== '');
}

function numbersOf(listed: string): number[] {
  return listed.split(/[,，]/).map(Number);
}
