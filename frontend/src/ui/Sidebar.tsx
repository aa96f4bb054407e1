import { useRef } from 'react';
import { useT } from '../i18n/language';
import { useSelected } from '../store/observable';
import { useApp } from './context';
import { ConversationList } from './ConversationList';
import { CloseIcon, ComposeIcon } from './icons';
import { Preferences } from './Preferences';
import { SearchField, SearchResults } from './Search';
import { focusComposer, keysOf } from './useShortcuts';

interface SidebarProps {
  /** On a phone the list is a drawer. */
  drawer: boolean;
  open: boolean;
  onClose: () => void;
  onHelp: () => void;
}

export function Sidebar({ drawer, open, onClose, onHelp }: SidebarProps) {
  const app = useApp();
  const t = useT();
  const panel = useRef<HTMLElement>(null);
  const looking = useSelected(app.finder, ({ phase }) => phase !== 'idle');
  return (
    <aside
      ref={panel}
      id="sidebar"
      className="sidebar"
      data-open={open}
      inert={drawer && !open}
      aria-label={t('list.title')}
      onKeyDown={(event) => {
        if (drawer && open && event.key === 'Escape' && !event.defaultPrevented) {
          event.preventDefault();
          onClose();
        }
      }}
    >
      <div className="flex h-14 shrink-0 items-center gap-2.5 px-4">
        {app.shell.logoUrl ? (
          <img className="tenant-mark" src={app.shell.logoUrl} alt="" width="28" height="28" />
        ) : (
          <span className="tenant-mark" aria-hidden="true">
            {[...app.shell.tenantName][0] ?? ''}
          </span>
        )}
        <span className="min-w-0 flex-1 truncate font-semibold">{app.shell.tenantName}</span>
        {drawer && (
          <button type="button" className="icon-button" aria-label={t('app.closeList')} onClick={onClose}>
            <CloseIcon />
          </button>
        )}
      </div>
      <div className="px-3 pb-2">
        <a
          href="/chat/"
          className="new-chat"
          data-testid="new-chat"
          title={t('app.newChatHint', { keys: keysOf('newChat') })}
          onClick={(event) => {
            if (event.metaKey || event.ctrlKey || event.shiftKey) return;
            event.preventDefault();
            app.newChat();
            onClose();
            focusComposer();
          }}
        >
          <ComposeIcon />
          <span className="flex-1">{t('app.newChat')}</span>
          <kbd aria-hidden="true">{keysOf('newChat')}</kbd>
        </a>
      </div>
      <SearchField />
      {looking ? <SearchResults onOpen={onClose} /> : <ConversationList onOpen={onClose} />}
      <Preferences onHelp={onHelp} />
    </aside>
  );
}
