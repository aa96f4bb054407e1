import { type KeyboardEvent, useEffect, useMemo, useRef } from 'react';
import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { ConversationItem } from './ConversationItem';
import { useApp } from './context';
import { groupByDay } from './format';

/** Up and down move between the conversations, Home and End to the ends. */
export function moveFocus(event: KeyboardEvent<HTMLElement>): void {
  if (!(event.target instanceof HTMLAnchorElement)) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLAnchorElement>('a[data-conversation]')];
  const at = links.indexOf(event.target);
  const steps: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 };
  const next = steps[event.key];
  if (next === undefined) return;
  event.preventDefault();
  links[next]?.focus();
}

export function ConversationList({ onOpen }: { onOpen: () => void }) {
  const app = useApp();
  const t = useT();
  const { items, pinned, cursor, phase, loadingMore, failure } = useObservable(app.conversations);
  const openId = useObservable(app.route);
  const groups = useMemo(() => {
    const days = groupByDay(items.filter((item) => !item.pinned_at), new Date());
    return pinned.length > 0 ? [{ label: 'list.pinned' as const, items: pinned }, ...days] : days;
  }, [items, pinned]);
  const end = useRef<HTMLDivElement>(null);

  // The next page is read when the end of the list comes into view.
  useEffect(() => {
    if (!end.current || cursor === null || failure) return;
    const seen = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) void app.conversations.loadMore();
    });
    seen.observe(end.current);
    return () => seen.disconnect();
  }, [app, cursor, failure]);

  return (
    <nav
      className="conversation-list"
      data-testid="conversation-list"
      aria-label={t('list.title')}
      aria-busy={phase === 'loading'}
      onKeyDown={moveFocus}
    >
      {phase === 'loading' && <ListSkeleton label={t('list.loading')} />}
      {phase === 'ready' && items.length + pinned.length === 0 && (
        <p className="px-3 py-2 text-[0.8125rem] leading-relaxed text-faint">{t('list.empty')}</p>
      )}
      {groups.map((group) => (
        <section key={group.label}>
          <h2 className="list-day">{t(group.label)}</h2>
          <ul>
            {group.items.map((item) => (
              <ConversationItem key={item.id} conversation={item} open={item.id === openId} onOpen={onOpen} />
            ))}
          </ul>
        </section>
      ))}
      <div ref={end} />
      {failure && (
        <div className="px-3 py-2 text-[0.8125rem] text-faint">
          <p>{t('list.failed')}</p>
          <button
            type="button"
            className="link-button mt-1"
            onClick={() => void (phase === 'failed' ? app.refresh() : app.conversations.loadMore())}
          >
            {t('message.retry')}
          </button>
        </div>
      )}
      {cursor !== null && !failure && (
        <button
          type="button"
          className="link-button mx-3 my-2"
          disabled={loadingMore}
          onClick={() => void app.conversations.loadMore()}
        >
          {loadingMore ? t('list.loadingMore') : t('list.more')}
        </button>
      )}
    </nav>
  );
}

function ListSkeleton({ label }: { label: string }) {
  return (
    <div className="appear-late space-y-3 px-3 py-3" role="status" aria-label={label}>
      {['w-4/5', 'w-3/5', 'w-2/3', 'w-1/2'].map((width) => (
        <div key={width} className={`skeleton h-3 ${width}`} />
      ))}
    </div>
  );
}
