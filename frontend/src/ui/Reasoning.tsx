import { useT } from '../i18n/language';
import { ChevronIcon } from './icons';

/** What the model thought before it answered: folded, for those who want to know. */
export function Reasoning({ text, live }: { text: string; live: boolean }) {
  const t = useT();
  return (
    <details className="fold" data-testid="reasoning">
      <summary>
        <ChevronIcon size={14} />
        <span className={live ? 'shimmer' : undefined}>{live ? t('reasoning.thinking') : t('reasoning.done')}</span>
      </summary>
      <div className="fold-body whitespace-pre-wrap">{text.trim()}</div>
    </details>
  );
}
