import { useContext, useMemo } from 'react';
import { passageUrl, sourceOf } from '../chat/sources';
import { useT } from '../i18n/language';
import { citedNumbers } from '../markdown/cites';
import { AnswerSources, placeText } from './Cite';
import { FileIcon } from './icons';

/** Below an answer: the passages that it cites, each a link to its place in its document. */
export function CitedSources({ content }: { content: string }) {
  const t = useT();
  const sources = useContext(AnswerSources);
  const cited = useMemo(
    () => citedNumbers(content).flatMap((n) => sourceOf(sources, n) ?? []),
    [content, sources],
  );
  if (cited.length === 0) return null;
  return (
    <ul className="sources" aria-label={t('source.list')} data-testid="sources">
      {cited.map((source) => (
        <li key={source.n}>
          <a className="chip" href={passageUrl(source)} target="_blank" rel="noopener" title={source.quote}>
            <span className="cite still">{source.n}</span>
            <FileIcon size={14} />
            <span className="truncate">{[source.title, placeText(t, source)].filter(Boolean).join(' · ')}</span>
          </a>
        </li>
      ))}
    </ul>
  );
}
