import { memo, useEffect } from 'react';
import type { Source, Usage } from '../api/contract';
import { canContinue, type Entry } from '../chat/entry';
import type { Thread } from '../chat/thread';
import { useSpeech, useT } from '../i18n/language';
import { citedNumbers } from '../markdown/cites';
import { Markdown } from '../markdown/Markdown';
import { newRun } from '../run/reducer';
import { Observable, useObservable, useSelected } from '../store/observable';
import { ApprovalCard } from './ApprovalCard';
import { AnswerSources } from './Cite';
import { CitedSources } from './CitedSources';
import { CopyButton } from './CopyButton';
import { useApp } from './context';
import { FailureNotice } from './FailureNotice';
import { ContinueIcon, RetryIcon } from './icons';
import { Reasoning } from './Reasoning';
import { Siblings } from './Siblings';
import { Thumbs } from './Thumbs';
import { StoredWorkPanel, WorkPanel } from './WorkPanel';

/** Stands in for the feed of an answer that was stored before this page was opened. */
const NO_FEED = new Observable(newRun(''));

interface AssistantMessageProps {
  entry: Entry;
  thread: Thread;
  last: boolean;
  busy: boolean;
}

/** One answer. While it is live it listens to its run's feed itself, so that nothing around it is drawn again. */
export const AssistantMessage = memo(function AssistantMessage({ entry, thread, last, busy }: AssistantMessageProps) {
  const app = useApp();
  const t = useT();
  const run = useObservable((entry.runId === null ? undefined : app.runs.get(entry.runId)) ?? NO_FEED);
  const live = entry.status === 'live';
  // Once the run has said its whole message, what was there before is in it.
  const before = run.messageId === null ? entry.before : '';
  const content = live ? before + run.text : entry.content;
  const reasoning = live ? entry.reasoning + run.reasoning : entry.reasoning;
  const worked = run.tools.length + run.members.length > 0;
  const stored = entry.traces.filter((trace) => !(worked && trace.run_id === run.runId));
  const working = run.tools.some((call) => !call.done) || run.members.some((member) => !member.done);
  const waiting = live && content === '' && reasoning === '' && !working;
  const sources = useSources(entry, run.sources);
  return (
    <AnswerSources value={sources}>
      <article
        className="group pb-8"
        data-testid="message-assistant"
        data-status={live ? 'streaming' : entry.status}
        data-message={entry.id ?? undefined}
        aria-busy={live}
      >
        <h2 className="sr-only">{t('message.answer')}</h2>
        {reasoning !== '' && <Reasoning text={reasoning} live={live && content === ''} />}
        {stored.map((trace) => (
          <StoredWorkPanel key={trace.run_id} trace={trace} />
        ))}
        {worked && <WorkPanel tools={run.tools} members={run.members} live={live} />}
        {waiting && (
          <p className="waiting" role="status">
            <span className="sr-only">{t('message.waiting')}</span>
          </p>
        )}
        {waiting && run.position !== null && (
          <p className="note" role="status">
            {t('message.queued', { position: run.position })}
          </p>
        )}
        {content !== '' && <Markdown source={content} live={live} />}
        {live && run.tools.map((call, index) => call.approval && <ApprovalCard key={index} call={call} />)}
        {!live && content === '' && entry.status === 'complete' && <p className="note">{t('message.empty')}</p>}
        {!live && entry.finishReason === 'length' && <p className="note">{t('message.cut')}</p>}
        {!live && entry.finishReason === 'content_filter' && <p className="note">{t('message.filtered')}</p>}
        {entry.status === 'stopped' && <p className="note">{t('message.stopped')}</p>}
        {entry.status === 'failed' && (
          <div className="mt-3">
            <FailureNotice
              failure={entry.error ?? { code: 'internal_error', message: '' }}
              onRetry={last && !busy ? () => void thread.regenerate(entry) : undefined}
            />
          </div>
        )}
        {!live && <CitedSources content={content} />}
        {!live && <Actions entry={entry} thread={thread} last={last} busy={busy} />}
      </article>
    </AnswerSources>
  );
});

const NONE: readonly Source[] = [];

/** The passages that an answer was written from: as its run tells them, or as they are read for a stored one that cites. */
function useSources(entry: Entry, told: readonly Source[]): readonly Source[] {
  const { sources } = useApp();
  const runId = entry.traces.findLast((trace) => trace.tools > 0)?.run_id ?? '';
  const kept = useSelected(sources, (known) => known.get(runId) ?? NONE);
  const wanted = told.length === 0 && runId !== '' && entry.status !== 'live' && citedNumbers(entry.content).length > 0;
  useEffect(() => {
    if (wanted) sources.load(runId);
  }, [sources, wanted, runId]);
  return told.length > 0 ? told : kept;
}

function Actions({ entry, thread, last, busy }: AssistantMessageProps) {
  const t = useT();
  // The notice of a failed last answer has its own button.
  const again = !busy && !(last && entry.status === 'failed');
  return (
    <div className="actions" data-last={last && !busy}>
      {!busy && <Siblings entry={entry} thread={thread} />}
      {entry.content !== '' && <CopyButton text={entry.content} label={t('message.copy')} testId="copy-answer" />}
      {again && (
        <button
          type="button"
          className="quiet-button"
          data-testid="retry"
          aria-label={t('message.regenerate')}
          title={t('message.regenerate')}
          onClick={() => void thread.regenerate(entry)}
        >
          <RetryIcon />
        </button>
      )}
      {last && !busy && canContinue(entry) && (
        <button
          type="button"
          className="quiet-button"
          data-testid="continue"
          onClick={() => void thread.continue(entry)}
        >
          <ContinueIcon />
          <span>{t('message.continue')}</span>
        </button>
      )}
      {!busy && <Thumbs entry={entry} thread={thread} />}
      {entry.usage && entry.usage.output_tokens > 0 && <UsageNote usage={entry.usage} />}
    </div>
  );
}

function UsageNote({ usage }: { usage: Usage }) {
  const { t, language } = useSpeech();
  const count = (usage.input_tokens + usage.output_tokens).toLocaleString(language === 'en' ? 'en' : 'zh-CN');
  const cost = usage.cost === null ? '' : ` · ${Number(usage.cost)} ${usage.currency}`;
  return (
    <span className="px-1.5 text-xs text-faint">
      {t(usage.counted ? 'message.tokensCounted' : 'message.tokens', { count })}
      {cost}
    </span>
  );
}
