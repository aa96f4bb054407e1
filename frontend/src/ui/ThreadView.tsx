import type { Thread } from '../chat/thread';
import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { Composer } from './Composer';
import { useApp } from './context';
import { EmptyState } from './EmptyState';
import { FailureNotice } from './FailureNotice';
import { LinkNotice } from './LinkNotice';
import { MessageList } from './MessageList';

/** The open conversation: its messages (or an invitation), what went wrong, and the composer. */
export function ThreadView({ thread }: { thread: Thread }) {
  const t = useT();
  const { phase, entries } = useObservable(thread);
  return (
    <>
      {phase === 'loading' && <MessagesSkeleton label={t('message.loading')} />}
      {phase === 'failed' && <div className="flex-1" />}
      {phase === 'ready' && entries.length === 0 && (
        <div className="scroller flex flex-col">
          <EmptyState thread={thread} />
        </div>
      )}
      {phase === 'ready' && entries.length > 0 && <MessageList thread={thread} />}
      <div className="column shrink-0 pb-3 [padding-bottom:max(0.75rem,env(safe-area-inset-bottom))]">
        <Trouble thread={thread} />
        <LinkNotice />
        {phase !== 'failed' && <Composer thread={thread} />}
        <p className="mt-2 text-center text-xs text-faint">{t('composer.notice')}</p>
      </div>
    </>
  );
}

function Trouble({ thread }: { thread: Thread }) {
  const app = useApp();
  const { failure, again } = useObservable(thread);
  const blocked = useObservable(app.blocked);
  if (blocked) return <FailureNotice failure={blocked} />;
  if (!failure) return null;
  return (
    <FailureNotice
      // A new failure starts its own count-down.
      key={failure.at}
      failure={failure}
      onRetry={again ? () => void again() : undefined}
      onDismiss={() => thread.dismiss()}
    />
  );
}

function MessagesSkeleton({ label }: { label: string }) {
  return (
    <div className="flex-1 overflow-hidden" role="status" aria-label={label}>
      <div className="column appear-late space-y-4 pt-6">
        <div className="skeleton ml-auto h-10 w-1/2 rounded-2xl" />
        <div className="skeleton h-4 w-11/12" />
        <div className="skeleton h-4 w-4/5" />
        <div className="skeleton h-4 w-2/3" />
      </div>
    </div>
  );
}
