import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { ConnectionState } from './ConnectionState';
import { useApp } from './context';
import { ComposeIcon, MenuIcon } from './icons';
import { focusComposer } from './useShortcuts';

interface HeaderProps {
  drawer: boolean;
  drawerOpen: boolean;
  onMenu: () => void;
}

/** The open conversation's title and agent, and how the page is connected. */
export function Header({ drawer, drawerOpen, onMenu }: HeaderProps) {
  const app = useApp();
  const t = useT();
  const thread = useObservable(app.current);
  const { conversation } = useObservable(thread);
  const { items } = useObservable(app.conversations);
  const shown = items.find((item) => item.id === thread.id) ?? conversation;
  const title = shown ? shown.title.trim() || t('list.untitled') : '';
  return (
    <header className="flex h-14 shrink-0 items-center gap-2 px-3 md:px-5">
      {drawer && (
        <button
          type="button"
          className="icon-button"
          aria-label={t('app.openList')}
          aria-expanded={drawerOpen}
          aria-controls="sidebar"
          onClick={onMenu}
        >
          <MenuIcon size={18} />
        </button>
      )}
      <div className="min-w-0 flex-1">
        <h1 className="truncate text-[0.9375rem] font-medium">{title || (thread.id === null && t('app.newChat'))}</h1>
        {shown?.agent && <p className="truncate text-xs text-faint">{shown.agent.name}</p>}
      </div>
      <ConnectionState />
      {drawer && (
        <button
          type="button"
          className="icon-button"
          aria-label={t('app.newChat')}
          onClick={() => {
            app.newChat();
            focusComposer();
          }}
        >
          <ComposeIcon size={18} />
        </button>
      )}
    </header>
  );
}
