import { useEffect, useState } from 'react';
import { useT } from '../i18n/language';
import { copyText } from './clipboard';
import { CheckIcon, CopyIcon } from './icons';

const SHOWN_MS = 1800;

interface CopyButtonProps {
  text: string;
  label: string;
  testId?: string;
}

/** Copies `text` and says so for a moment. */
export function CopyButton({ text, label, testId }: CopyButtonProps) {
  const t = useT();
  const [outcome, setOutcome] = useState<'copied' | 'failed' | null>(null);
  useEffect(() => {
    if (!outcome) return;
    const timer = setTimeout(() => setOutcome(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  const said = outcome === 'copied' ? t('message.copied') : outcome === 'failed' ? t('message.copyFailed') : null;
  return (
    <button
      type="button"
      className="quiet-button"
      aria-label={said ?? label}
      title={label}
      data-testid={testId}
      onClick={() => {
        copyText(text).then(
          () => setOutcome('copied'),
          () => setOutcome('failed'),
        );
      }}
    >
      {outcome === 'copied' ? <CheckIcon /> : <CopyIcon />}
      {said && <span role="status">{said}</span>}
    </button>
  );
}
