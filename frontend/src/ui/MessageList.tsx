import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { Thread } from '../chat/thread';
import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { AssistantMessage } from './AssistantMessage';
import { ArrowDownIcon } from './icons';
import { UserMessage } from './UserMessage';
import { useStickToBottom } from './useStickToBottom';

/** How many messages are drawn at first, and how many more each time the reader reaches the top. */
const WINDOW = 40;

/** The messages of a conversation. It changes when messages come and go, never with a token. */
export function MessageList({ thread }: { thread: Thread }) {
  const t = useT();
  const { entries, runId, sending } = useObservable(thread);
  const { scroller, content, away, jump } = useStickToBottom();
  const [shown, setShown] = useState(WINDOW);
  const fromEnd = useRef<number | null>(null);
  const hidden = Math.max(0, entries.length - shown);
  const last = entries.at(-1);
  const busy = runId !== null || sending;

  const showEarlier = (): void => {
    const box = scroller.current;
    fromEnd.current = box ? box.scrollHeight - box.scrollTop : null;
    setShown((count) => count + WINDOW);
  };

  // What the reader looks at stays where it is when earlier messages are put above it.
  useLayoutEffect(() => {
    const box = scroller.current;
    if (box && fromEnd.current !== null) box.scrollTop = box.scrollHeight - fromEnd.current;
    fromEnd.current = null;
  }, [shown, scroller]);

  // One's own message is always shown.
  const sent = last?.status === 'sending' ? last.key : null;
  useEffect(() => {
    if (sent !== null) jump();
  }, [sent, jump]);

  return (
    <div className="message-list relative min-h-0 flex-1">
      <div
        ref={scroller}
        className="scroller"
        data-testid="messages"
        role="region"
        aria-label={t('message.list')}
        tabIndex={0}
      >
        <div ref={content} className="column pt-4 pb-8">
          {hidden > 0 && (
            <button type="button" className="link-button mx-auto mb-6 block" onClick={showEarlier}>
              {t('message.earlier')} ({hidden})
            </button>
          )}
          {entries.slice(hidden).map((entry) =>
            entry.role === 'user' ? (
              <UserMessage key={entry.key} entry={entry} thread={thread} busy={busy} />
            ) : (
              <AssistantMessage
                key={entry.key}
                entry={entry}
                thread={thread}
                last={entry === last}
                busy={busy}
              />
            ),
          )}
          {sending && last?.role === 'user' && <Waiting />}
          {!sending && runId === null && last?.role === 'user' && <Unanswered thread={thread} />}
        </div>
      </div>
      {away && (
        <button
          type="button"
          className="jump-latest"
          data-testid="jump-latest"
          data-live={runId !== null}
          aria-label={t('message.jump')}
          title={t('message.jump')}
          onClick={jump}
        >
          <ArrowDownIcon size={18} />
        </button>
      )}
    </div>
  );
}

/** The message was sent and not accepted yet. */
function Waiting() {
  const t = useT();
  return (
    <p className="waiting" role="status">
      <span className="sr-only">{t('message.sending')}</span>
    </p>
  );
}

/** A message whose run left no answer behind can be asked again. */
function Unanswered({ thread }: { thread: Thread }) {
  const t = useT();
  return (
    <button type="button" className="remedy" data-testid="retry" onClick={() => void thread.retry()}>
      {t('message.retry')}
    </button>
  );
}
