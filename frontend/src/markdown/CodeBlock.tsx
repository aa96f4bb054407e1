import { memo, useRef } from 'react';
import { useT } from '../i18n/language';
import { CopyButton } from '../ui/CopyButton';
import { HIGHLIGHT_LIMIT, highlight, type Line } from './highlight';
import { grammarOf } from './languages';

const CodeLine = memo(function CodeLine({ line }: { line: Line }) {
  return (
    <>
      {line.tokens.map(([kind, text], index) =>
        kind === '' ? text : (
          <span key={index} className={`tok-${kind}`}>
            {text}
          </span>
        ),
      )}
      {'\n'}
    </>
  );
});

interface CodeBlockProps {
  language: string;
  code: string;
}

/** A block of code with its language, a copy button and light colours; grows line by line while it streams. */
export const CodeBlock = memo(function CodeBlock({ language, code }: CodeBlockProps) {
  const t = useT();
  const previous = useRef<Line[]>([]);
  const grammar = code.length <= HIGHLIGHT_LIMIT ? grammarOf(language) : null;
  if (grammar) previous.current = highlight(code, grammar, previous.current);
  return (
    <div className="code">
      <div className="code-bar">
        <span className="code-language">{language || t('code.plain')}</span>
        <CopyButton text={code} label={t('code.copy')} />
      </div>
      <pre tabIndex={0}>
        <code>{grammar ? previous.current.map((line, index) => <CodeLine key={index} line={line} />) : code}</code>
      </pre>
    </div>
  );
});
