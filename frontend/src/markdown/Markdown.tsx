import { memo, type ReactElement, useMemo } from 'react';
import ReactMarkdown, { type Components, type Options } from 'react-markdown';
import rehypeSanitize, { defaultSchema } from 'rehype-sanitize';
import { useT } from '../i18n/language';
import { Cite } from '../ui/Cite';
import { splitBlocks } from './blocks';
import { rehypeCites } from './cites';
import { CodeBlock } from './CodeBlock';
import { formulaOf, withFormulas } from './formulas';
import { remarkReadGfm } from './gfm';
import { ImageLink, TextLink } from './Link';
import { safeUrl } from './links';
import { Maths } from './Maths';
import { mend } from './mend';
import { rehypeRawText } from './rawtext';

const REMARK: Options['remarkPlugins'] = [remarkReadGfm];

/** Ids come from footnotes only, and remark-rehype has prefixed those already. */
const SCHEMA = { ...defaultSchema, clobber: [] };
const REHYPE: Options['rehypePlugins'] = [rehypeRawText, [rehypeSanitize, SCHEMA], rehypeCites];

/** An answer's headings rank below those of the page. */
const COMPONENTS: Components = {
  a: ({ href, children }) => <TextLink href={href ?? ''}>{children}</TextLink>,
  img: ({ src, alt }) => <ImageLink src={typeof src === 'string' ? src : ''} alt={alt ?? ''} />,
  cite: ({ node }) => <Cite n={Number(node?.properties.dataN)} />,
  code: ({ children }) => {
    const formula = typeof children === 'string' ? formulaOf(children) : null;
    return formula ? <Maths {...formula} /> : <code>{children}</code>;
  },
  input: ({ checked }) => <TaskMark done={checked === true} />,
  h1: 'h3',
  h2: 'h4',
  h3: 'h5',
  h4: 'h6',
  h5: 'h6',
  table: ({ children }) => (
    <div className="table-scroll" tabIndex={0} role="group">
      <table>{children}</table>
    </div>
  ),
  pre: ({ node }) => {
    const code = node?.children[0];
    if (code?.type !== 'element') return null;
    const names = code.properties.className;
    const name = Array.isArray(names) ? names.find((item) => String(item).startsWith('language-')) : undefined;
    const text = code.children.map((child) => (child.type === 'text' ? child.value : '')).join('');
    return <CodeBlock language={String(name ?? '').slice('language-'.length)} code={text.replace(/\n$/, '')} />;
  },
};

/** The box of a task list: it only shows, and says what it shows. */
function TaskMark({ done }: { done: boolean }) {
  const t = useT();
  return <input type="checkbox" checked={done} disabled aria-label={t(done ? 'markdown.taskDone' : 'markdown.taskOpen')} />;
}

/** Of texts that were drawn lately; one that is scrolled back into view is not parsed again. */
const PARSED = new Map<string, ReactElement>();
const MOST_PARSED = 600;

function parse(source: string): ReactElement {
  return ReactMarkdown({
    remarkPlugins: REMARK,
    rehypePlugins: REHYPE,
    components: COMPONENTS,
    urlTransform: safeUrl,
    children: withFormulas(source),
  });
}

function parsed(source: string): ReactElement {
  const known = PARSED.get(source);
  if (known) return known;
  const made = parse(source);
  if (PARSED.size >= MOST_PARSED) PARSED.delete(PARSED.keys().next().value!);
  PARSED.set(source, made);
  return made;
}

/** One block; unchanged source means that nothing is parsed or drawn again. `growing`: it changes with every token. */
const TextPart = memo(function TextPart({ source, growing }: { source: string; growing: boolean }) {
  return growing ? parse(mend(source)) : parsed(source);
});

interface MarkdownProps {
  source: string;
  /** More text is on its way: the end may be half a construct. */
  live?: boolean;
}

/** A model's Markdown, made safe: no HTML, nothing loaded from anywhere, links that say where they go. */
export function Markdown({ source, live = false }: MarkdownProps) {
  const blocks = useMemo(() => splitBlocks(source), [source]);
  return (
    <div className={live ? 'prose prose-live' : 'prose'}>
      {blocks.map((block, index) =>
        block.kind === 'code' ? (
          <CodeBlock key={index} language={block.language} code={block.code} />
        ) : (
          <TextPart key={index} source={block.source} growing={live && index === blocks.length - 1} />
        ),
      )}
    </div>
  );
}
