import { gfmFromMarkdown } from 'mdast-util-gfm';
import { gfm } from 'micromark-extension-gfm';

interface ParserData {
  micromarkExtensions?: unknown[];
  fromMarkdownExtensions?: unknown[];
}

/**
 * A remark plug-in: GitHub's tables, task lists, strike-through, footnotes and bare links. The reading half of
 * remark-gfm, because nothing here writes Markdown (10 kB gz less).
 */
export function remarkReadGfm(this: { data(): unknown }): void {
  const data = this.data() as ParserData;
  data.micromarkExtensions = [...(data.micromarkExtensions ?? []), gfm({ singleTilde: false })];
  data.fromMarkdownExtensions = [...(data.fromMarkdownExtensions ?? []), gfmFromMarkdown()];
}
