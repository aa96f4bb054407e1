import { memo, useEffect, useId, useRef, useState } from 'react';
import type { ApprovalView } from '../api/contract';
import { Failure } from '../api/failure';
import { LOCALES, type MessageKey } from '../i18n/catalog';
import { useSpeech, useT } from '../i18n/language';
import type { ToolCall } from '../run/work';
import { CopyButton } from './CopyButton';
import { useApp } from './context';
import { failureText } from './FailureNotice';
import { AlertIcon } from './icons';
import { Verdict } from './ToolCalls';

const MOST_NOTE = 1000;
const REASONS: Record<ApprovalView['reason'], MessageKey> = {
  tainted: 'approval.tainted',
  policy: 'approval.policy',
  changed: 'approval.changed',
};
const EFFECTS: Record<ApprovalView['effect'], MessageKey> = {
  read: 'approval.reads',
  write: 'approval.writes',
  egress: 'approval.sends',
};

/** A call of a tool that waits for a person: what exactly would be done, and why it is asked. */
export const ApprovalCard = memo(function ApprovalCard({ call }: { call: ToolCall }) {
  const approval = call.approval!;
  const title = useId();
  const t = useT();
  const box = useRef<HTMLParagraphElement>(null);
  const pending = approval.decision === null;
  const sent = useRef(false);
  // Whoever decided by keyboard stays where they were: the button that they pressed is gone.
  useEffect(() => {
    if (!pending && sent.current && document.activeElement === document.body) box.current?.focus({ preventScroll: true });
  }, [pending]);
  if (!pending) {
    return (
      <p ref={box} tabIndex={-1} className="note" data-testid="approval-decided">
        {call.name}: <Verdict approval={approval} />
      </p>
    );
  }
  return (
    <section className="approval" data-testid="approval" aria-labelledby={title}>
      <h3 id={title} role="status">
        <AlertIcon size={18} />
        <span>{t('approval.title', { name: call.name })}</span>
      </h3>
      <Asked id={approval.id} path={call.path} onSent={() => (sent.current = true)} />
    </section>
  );
});

/** Read from the API, which says it to the letter and whether the person may decide. */
function Asked({ id, path, onSent }: { id: string; path: string; onSent: () => void }) {
  const app = useApp();
  const t = useT();
  const [found, setFound] = useState<ApprovalView | Failure | null>(null);
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let gone = false;
    app.api.approval(id).then(
      (view) => !gone && setFound(view),
      (error) => !gone && setFound(app.fail(Failure.from(error))),
    );
    return () => {
      gone = true;
    };
  }, [app, id, turn]);
  if (found === null) return <p className="appear-late text-faint">{t('work.loading')}</p>;
  if (found instanceof Failure) {
    return (
      <p role="alert">
        {failureText(t, found.code)}{' '}
        <button type="button" className="link-button" onClick={() => setTurn(turn + 1)}>
          {t('message.retry')}
        </button>
      </p>
    );
  }
  return (
    <>
      <div>
        <p>{t(EFFECTS[found.effect])}</p>
        <p className="text-soft">{t(REASONS[found.reason])}</p>
      </div>
      {path !== '' && <p className="text-faint">{t('approval.member', { path })}</p>}
      <div className="part">
        <div className="part-head">
          <span>{t('tool.arguments')}</span>
          <CopyButton text={found.arguments_text} label={t('tool.copy', { part: t('tool.arguments') })} />
        </div>
        <pre tabIndex={0} data-testid="approval-arguments" aria-label={t('tool.arguments')}>
          {found.arguments_text}
        </pre>
      </div>
      <Expiry at={found.expires_at} />
      {found.may_decide ? <Decide view={found} onSent={onSent} /> : <p className="note">{t('approval.notYours')}</p>}
    </>
  );
}

function Expiry({ at }: { at: string }) {
  const { t, language } = useSpeech();
  const time = new Intl.DateTimeFormat(LOCALES[language], { dateStyle: 'medium', timeStyle: 'short' });
  return <p className="text-xs text-faint">{t('approval.until', { time: time.format(Date.parse(at)) })}</p>;
}

/** No form: Enter in the field decides nothing. What was decided comes back with the run's events. */
function Decide({ view, onSent }: { view: ApprovalView; onSent: () => void }) {
  const app = useApp();
  const t = useT();
  const field = useId();
  const [note, setNote] = useState('');
  const [sent, setSent] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const decide = (decision: 'approve' | 'deny'): void => {
    setSent(true);
    onSent();
    setFailure(null);
    app.api.decide(view.id, { decision, arguments_hash: view.arguments_hash, note: note.trim() }).catch((error) => {
      setSent(false);
      setFailure(app.fail(Failure.from(error)));
    });
  };
  return (
    <>
      <label className="sr-only" htmlFor={field}>
        {t('approval.note')}
      </label>
      <input
        id={field}
        type="text"
        className="approval-note"
        data-testid="approval-note"
        value={note}
        maxLength={MOST_NOTE}
        placeholder={t('approval.note')}
        onChange={(event) => setNote(event.target.value)}
      />
      {failure && (
        <p role="alert" className="text-danger" data-testid="approval-failed">
          {failureText(t, failure.code)}
        </p>
      )}
      <div className="approval-buttons">
        <button
          type="button"
          className="remedy primary"
          data-testid="approve"
          disabled={sent}
          onClick={() => decide('approve')}
        >
          {t('approval.approve')}
        </button>
        <button type="button" className="remedy" data-testid="deny" disabled={sent} onClick={() => decide('deny')}>
          {t('approval.deny')}
        </button>
        {sent && (
          <span role="status" className="text-xs text-faint">
            {t('approval.sending')}
          </span>
        )}
      </div>
    </>
  );
}
