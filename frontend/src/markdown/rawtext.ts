interface HastNode {
  type: string;
  value?: string;
  tagName?: string;
  properties?: Record<string, unknown>;
  children?: HastNode[];
}

const BREAK = /^<br\s*\/?>$/i;

/** A rehype plug-in: HTML that a model writes is shown as the text it is (only a line break is taken at its word). */
export function rehypeRawText() {
  return (tree: HastNode): void => visit(tree);
}

function visit(node: HastNode): void {
  if (!node.children) return;
  node.children = node.children.map((child) => {
    if (child.type !== 'raw') return child;
    const value = child.value ?? '';
    if (BREAK.test(value.trim())) return { type: 'element', tagName: 'br', properties: {}, children: [] };
    return { type: 'text', value };
  });
  for (const child of node.children) visit(child);
}
