import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import type { Entry } from '../chat/entry';
import type { Thread } from '../chat/thread';
import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { AssistantMessage } from './AssistantMessage';
import { ArrowDownIcon } from './icons';
import { UserMessage } from './UserMessage';
import { useRows } from './useRows';
import { useStickToBottom } from './useStickToBottom';

/** A guess at a message's height before it is drawn: signs a line, and pixels of a line and around it. */
const LINE_CHARS = 75;
const LINE_PX = 27;
const AROUND_PX = 72;
/** How long a message that was searched for is marked. */
const FOUND_MS = 2_500;

const GUESSES = new WeakMap<Entry, number>();

/** Asked for every message at each step of scrolling, so it is worked out once. */
function guessHeight(entry: Entry | undefined): number {
  if (!entry) return AROUND_PX + LINE_PX;
  let guess = GUESSES.get(entry);
  if (guess === undefined) {
    const lines = entry.content.split('\n').reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / LINE_CHARS)), 0);
    guess = AROUND_PX + lines * LINE_PX;
    GUESSES.set(entry, guess);
  }
  return guess;
}

/** The messages of a conversation, those in view drawn. It changes when messages come and go, never with a token. */
export function MessageList({ thread }: { thread: Thread }) {
  const t = useT();
  const { entries, runId, sending } = useObservable(thread);
  const { scroller, content, stuck, away, jump } = useStickToBottom();
  const keys = useMemo(() => entries.map((entry) => entry.key), [entries]);
  const byKey = useRef(new Map<string, Entry>());
  byKey.current = useMemo(() => new Map(entries.map((entry) => [entry.key, entry])), [entries]);
  const guess = useCallback((key: string) => guessHeight(byKey.current.get(key)), []);
  const rows = useRows({ keys, scroller, stuck, guess });
  const found = useWanted(thread, rows.reveal);
  const last = entries.at(-1);
  const busy = runId !== null || sending;

  // One's own message is always shown.
  const sent = last?.status === 'sending' ? last.key : null;
  useEffect(() => {
    if (sent !== null) jump();
  }, [sent, jump]);

  let drawnTo = 0;
  const space = (from: number, to: number) => {
    drawnTo = to + 1;
    return to > from ? <div key={`gap:${from}`} style={{ height: rows.gap(from, to) }} aria-hidden="true" /> : null;
  };
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
          {/* One flat list: a row keeps its element while those around it come and go. */}
          {rows.drawn.flatMap((index) => {
            const entry = entries[index]!;
            return [
              space(drawnTo, index),
              <div key={entry.key} ref={rows.watch} data-row={entry.key} data-found={entry.id !== null && entry.id === found}>
                {entry.role === 'user' ? (
                  <UserMessage entry={entry} thread={thread} busy={busy} />
                ) : (
                  <AssistantMessage entry={entry} thread={thread} last={entry === last} busy={busy} />
                )}
              </div>,
            ];
          })}
          {space(drawnTo, entries.length)}
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

/** Brings the message into view that was searched for; its id, while it is marked. */
function useWanted(thread: Thread, reveal: (key: string) => void): string | null {
  const { wanted, entries } = useObservable(thread);
  const [found, setFound] = useState<string | null>(null);
  useEffect(() => {
    const entry = entries.find(({ id }) => id !== null && id === wanted);
    if (!entry) return;
    reveal(entry.key);
    setFound(entry.id);
    thread.patch({ wanted: null });
  }, [thread, wanted, entries, reveal]);
  useEffect(() => {
    if (found === null) return;
    const timer = setTimeout(() => setFound(null), FOUND_MS);
    return () => clearTimeout(timer);
  }, [found]);
  return found;
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
