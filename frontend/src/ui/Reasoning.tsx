import { useT } from '../i18n/language';
import { CopyButton } from './CopyButton';
import { Fold } from './Fold';

/** What the model thought before it answered: folded, for those who want to know. */
export function Reasoning({ text, live }: { text: string; live: boolean }) {
  const t = useT();
  const label = t(live ? 'reasoning.thinking' : 'reasoning.done');
  return (
    <Fold testId="reasoning" summary={<span className={live ? 'shimmer' : undefined}>{label}</span>}>
      {() => (
        <>
          <p className="whitespace-pre-wrap" dir="auto">
            {text.trim()}
          </p>
          {!live && <CopyButton text={text.trim()} label={t('reasoning.copy')} testId="copy-reasoning" />}
        </>
      )}
    </Fold>
  );
}
