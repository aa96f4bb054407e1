// A chunk of its own, loaded by the first formula. It imports nothing of the page: see vite.config.ts.
import katex, { type KatexOptions } from 'katex';
import 'katex/dist/katex.min.css';

interface TreeNode {
  attributes?: Record<string, string>;
  children?: TreeNode[];
  toNode(): Node;
}

/** Not in the package's types: the formula as a tree that makes elements. */
type Renderer = { __renderToDomTree(tex: string, options: KatexOptions): TreeNode };

const OPTIONS = { throwOnError: true, strict: false, trust: false, maxExpand: 500, maxSize: 20 } as const;

/** Sets a formula into `box`. Raises what is wrong with it. Nothing in it loads, links or runs (`trust` is off). */
export function typeset(tex: string, display: boolean, box: HTMLElement): void {
  const tree = (katex as unknown as Renderer).__renderToDomTree(tex, { ...OPTIONS, displayMode: display });
  hideStyles(tree);
  box.replaceChildren(tree.toNode());
  for (const one of box.querySelectorAll<SVGElement>('[data-style]')) {
    one.style.cssText = one.dataset.style ?? '';
    delete one.dataset.style;
  }
}

/** The page's policy allows no style attributes; what a script sets is none. */
function hideStyles(node: TreeNode): void {
  const { attributes } = node;
  if (attributes?.style !== undefined) {
    attributes['data-style'] = attributes.style;
    delete attributes.style;
  }
  for (const child of node.children ?? []) hideStyles(child);
}
