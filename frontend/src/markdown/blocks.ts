export interface TextBlock {
  kind: 'text';
  source: string;
}

export interface FenceBlock {
  kind: 'code';
  /** The first word after the fence, '' when there is none. */
  language: string;
  code: string;
  /** False while the closing fence has not come yet. */
  closed: boolean;
}

export type Block = TextBlock | FenceBlock;

const FENCE = /^( {0,3})(`{3,}|~{3,})\s*([^`]*)$/;
const LIST_ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)/;
/** A link or footnote definition may be used anywhere in the text, so such a text stays in one piece. */
const DEFINITION = /^ {0,3}\[[^\]\n]+\]:/m;

/**
 * Cuts Markdown into top-level blocks that mean the same alone as together, so that only the last one has to
 * be parsed again when text is appended. It cuts less often than Markdown would, never more often.
 */
export function splitBlocks(source: string): Block[] {
  if (DEFINITION.test(source)) return [{ kind: 'text', source }];
  const splitter = new Splitter();
  for (const line of source.split('\n')) splitter.line(line);
  return splitter.end();
}

interface Fence {
  indent: number;
  mark: string;
  language: string;
  lines: string[];
}

class Splitter {
  readonly #blocks: Block[] = [];
  #lines: string[] = [];
  #blank = 0;
  #list = false;
  #fence: Fence | null = null;

  line(line: string): void {
    if (this.#fence) this.#insideFence(this.#fence, line);
    else if (line.trim() === '') this.#blank += 1;
    else if (!this.#opensFence(line)) this.#text(line);
  }

  end(): Block[] {
    if (this.#fence) this.#closeFence(this.#fence, false);
    else this.#flush();
    return this.#blocks;
  }

  #text(line: string): void {
    const item = LIST_ITEM.test(line);
    if (this.#lines.length > 0 && this.#blank > 0) {
      const continues = /^\s/.test(line) || (this.#list && item);
      if (continues) this.#lines.push(...Array<string>(this.#blank).fill(''));
      else this.#flush();
    }
    this.#blank = 0;
    this.#list ||= item;
    this.#lines.push(line);
  }

  #opensFence(line: string): boolean {
    const match = FENCE.exec(line);
    if (!match) return false;
    const [, indent = '', mark = '', info = ''] = match;
    // An indented fence below a list item belongs to the item.
    if (this.#list && indent.length > 1) return false;
    this.#flush();
    this.#fence = { indent: indent.length, mark, language: info.trim().split(/\s+/)[0] ?? '', lines: [] };
    return true;
  }

  #insideFence(fence: Fence, line: string): void {
    const rest = line.trim();
    const indent = line.length - line.trimStart().length;
    const closes = indent < 4 && rest.startsWith(fence.mark) && rest === fence.mark.charAt(0).repeat(rest.length);
    if (closes) {
      this.#closeFence(fence, true);
      return;
    }
    fence.lines.push(line.slice(Math.min(fence.indent, indent)));
  }

  #closeFence(fence: Fence, closed: boolean): void {
    this.#blocks.push({ kind: 'code', language: fence.language, code: fence.lines.join('\n'), closed });
    this.#fence = null;
  }

  #flush(): void {
    if (this.#lines.length > 0) this.#blocks.push({ kind: 'text', source: this.#lines.join('\n') });
    this.#lines = [];
    this.#blank = 0;
    this.#list = false;
  }
}
