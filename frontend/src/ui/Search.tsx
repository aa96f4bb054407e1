import { useT } from '../i18n/language';
import { marked } from '../chat/finder';
import type { FoundConversation } from '../api/contract';
import { conversationPath } from '../chat/route';
import { useObservable } from '../store/observable';
import { moveFocus } from './ConversationList';
import { useApp } from './context';
import { failureText } from './FailureNotice';
import { SearchIcon } from './icons';
import { keysOf } from './useShortcuts';

export const SEARCH_ID = 'conversation-search';

/** Looks through titles and messages while one types; Esc gives it up, Down goes to what was found. */
export function SearchField() {
  const app = useApp();
  const t = useT();
  const { text } = useObservable(app.finder);
  return (
    <div className="search" role="search">
      <SearchIcon size={15} />
      <input
        id={SEARCH_ID}
        type="search"
        data-testid="conversation-search"
        aria-label={t('search.label')}
        placeholder={t('search.label')}
        title={`${t('search.label')} (${keysOf('search')})`}
        value={text}
        maxLength={200}
        onChange={(event) => app.finder.look(event.target.value)}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return;
          if (event.key === 'Escape') {
            event.preventDefault();
            event.stopPropagation();
            if (text === '') document.getElementById('composer')?.focus();
            app.finder.look('');
          } else if (event.key === 'ArrowDown') {
            event.preventDefault();
            document.querySelector<HTMLElement>('#sidebar a[data-conversation]')?.focus();
          }
        }}
      />
    </div>
  );
}

export function SearchResults({ onOpen }: { onOpen: () => void }) {
  const app = useApp();
  const t = useT();
  const { text, phase, found, failure } = useObservable(app.finder);
  const count = found.length === 1 ? t('search.one') : t('search.many', { count: found.length });
  return (
    <nav
      className="conversation-list"
      data-testid="search-results"
      aria-label={t('search.results')}
      aria-busy={phase === 'looking'}
      onKeyDown={moveFocus}
    >
      <p className="list-day" role="status">
        {phase === 'looking' ? t('search.looking') : failure ? failureText(t, failure.code) : count}
      </p>
      {failure && (
        <button type="button" className="link-button mx-3" onClick={() => void app.finder.again()}>
          {t('message.retry')}
        </button>
      )}
      {phase === 'ready' && found.length === 0 && (
        <p className="px-3 py-1 text-[0.8125rem] leading-relaxed text-faint">{t('search.none')}</p>
      )}
      <ul>
        {found.map((one) => (
          <Result key={one.id} found={one} text={text} onOpen={onOpen} />
        ))}
      </ul>
    </nav>
  );
}

function Result({ found, text, onOpen }: { found: FoundConversation; text: string; onOpen: () => void }) {
  const app = useApp();
  const t = useT();
  const { id, match } = found;
  return (
    <li>
      <a
        className="found"
        href={conversationPath(id)}
        data-conversation={id}
        data-testid="search-result"
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
          event.preventDefault();
          if (match) void app.openAt(id, match.message_id);
          else app.route.go(id);
          onOpen();
        }}
      >
        <span className="block truncate">
          <Marked text={found.title.trim() || t('list.untitled')} wanted={text} />
        </span>
        {match && (
          <span className="found-text">
            <Marked text={match.text.replace(/\*\*|`|(^|\s)#+\s/g, "$1")} wanted={text} />
          </span>
        )}
      </a>
    </li>
  );
}

function Marked({ text, wanted }: { text: string; wanted: string }) {
  return marked(text, wanted).map(([piece, hit], index) => (hit ? <mark key={index}>{piece}</mark> : piece));
}
