import { useEffect, useState } from 'react';
import { remedyFor } from '../api/failure';
import { hasKey, type Translate } from '../i18n/catalog';
import { useSpeech, useT } from '../i18n/language';
import { useApp } from './context';
import { AlertIcon, CloseIcon } from './icons';

/** Codes whose server sentence says more than ours: which limit, which setting, which address. */
const TELLING = /^(provider_|quota_|session_|validation_|context_|model_|rate_|message_too)/;

export interface Shown {
  code: string;
  message: string;
  retryAfter?: number | null;
  requestId?: string | null;
  at?: number;
}

interface FailureNoticeProps {
  failure: Shown;
  onRetry?: (() => void) | undefined;
  onDismiss?: () => void;
}

export function failureText(t: Translate, code: string): string {
  const key = `failure.${code}`;
  return hasKey(key) ? t(key) : t('failure.unknown', { code });
}

/** Beyond this many seconds nobody waits beside a button. */
const SOON_S = 3600;

/** When to try again, from the seconds that are left. */
export function waitText(t: Translate, seconds: number): string {
  if (seconds <= 0) return t('message.retry');
  return seconds <= 120
    ? t('message.retryIn', { seconds })
    : t('message.retryInMinutes', { minutes: Math.ceil(seconds / 60) });
}

/** Seconds until `time` (ms since the epoch), counted down; 0 when it has passed. */
function useSecondsUntil(time: number): number {
  const [now, setNow] = useState(Date.now);
  const waiting = time > now;
  useEffect(() => {
    if (!waiting) return;
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [waiting]);
  return waiting ? Math.ceil((time - now) / 1000) : 0;
}

/** What went wrong, in the reader's language, and the one thing to do about it. */
export function FailureNotice({ failure, onRetry, onDismiss }: FailureNoticeProps) {
  const { t, language } = useSpeech();
  const { code, message } = failure;
  const known = hasKey(`failure.${code}`);
  // Which quota it is, the page of limits says in the reader's language; the server's sentence is English.
  const telling = TELLING.test(code) && (language === 'en' || !code.startsWith('quota_'));
  const detail = message !== '' && (telling || !known) ? message : '';
  return (
    <div className="failure" role="alert" data-testid="error-banner" data-code={code}>
      <span className="mt-0.5 shrink-0 text-danger">
        <AlertIcon />
      </span>
      <div className="min-w-0 flex-1">
        <p>{failureText(t, code)}</p>
        {detail !== '' && <p className="mt-0.5 text-[0.8125rem] text-soft [overflow-wrap:anywhere]">{detail}</p>}
        {code === 'internal_error' && failure.requestId && (
          <p className="mt-0.5 font-mono text-xs text-soft">{t('failure.reference', { id: failure.requestId })}</p>
        )}
        <RemedyButton failure={failure} onRetry={onRetry} />
      </div>
      {onDismiss && (
        <button type="button" className="icon-button small" aria-label={t('app.dismiss')} onClick={onDismiss}>
          <CloseIcon size={14} />
        </button>
      )}
    </div>
  );
}

function RemedyButton({ failure, onRetry }: Pick<FailureNoticeProps, 'failure' | 'onRetry'>) {
  const app = useApp();
  const t = useT();
  const seconds = useSecondsUntil((failure.at ?? 0) + (failure.retryAfter ?? 0) * 1000);
  switch (remedyFor(failure.code)) {
    case 'sign_in':
      return (
        <a className="remedy" data-testid="sign-in" href={`/login/?next=${encodeURIComponent(location.pathname)}`}>
          {t('remedy.signIn')}
        </a>
      );
    case 'reload':
      return (
        <button type="button" className="remedy" onClick={() => location.reload()}>
          {t('remedy.reload')}
        </button>
      );
    case 'new_chat':
      return (
        <button type="button" className="remedy" onClick={() => app.newChat()}>
          {t('remedy.newChat')}
        </button>
      );
    case 'retry':
      if (seconds > SOON_S && failure.code.startsWith('quota_')) {
        return (
          <a className="remedy" data-testid="see-limits" href="/profile/#limits">
            {t('remedy.limits')}
          </a>
        );
      }
      return onRetry && seconds <= SOON_S ? (
        <button type="button" className="remedy" data-testid="retry" disabled={seconds > 0} onClick={onRetry}>
          {waitText(t, seconds)}
        </button>
      ) : null;
    default:
      return null;
  }
}
