import { useCallback, useEffect, useState } from 'react';
import type { MessageKey } from '../i18n/catalog';
import { LOCALES } from '../i18n/catalog';
import { useSpeech, useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { useApp } from './context';
import { Header } from './Header';
import { Help } from './Help';
import { Sidebar } from './Sidebar';
import { ThreadView } from './ThreadView';
import { Toaster } from './Toaster';
import { PHONE, useMedia } from './useMedia';
import { useShortcuts } from './useShortcuts';

export function ChatPage() {
  const app = useApp();
  const t = useT();
  const thread = useObservable(app.current);
  const drawer = useMedia(PHONE);
  const [drawerOpen, setDrawerOpen] = useState(false);
  const covered = drawer && drawerOpen;
  const [help, setHelp] = useState(false);
  const openHelp = useCallback(() => setHelp(true), []);
  const openList = useCallback(() => setDrawerOpen(true), []);
  useShortcuts(app, { openHelp, openList });
  useDocumentTitle();
  return (
    <div className="page">
      <a className="skip-link" href="#composer">
        {t('app.skip')}
      </a>
      <Sidebar drawer={drawer} open={drawerOpen} onClose={() => setDrawerOpen(false)} onHelp={openHelp} />
      {covered && <div className="scrim" aria-hidden="true" onClick={() => setDrawerOpen(false)} />}
      <main className="main" inert={covered} aria-label={t('app.conversation')}>
        <Header drawer={drawer} drawerOpen={drawerOpen} onMenu={() => setDrawerOpen(true)} />
        <ThreadView key={thread.serial} thread={thread} />
      </main>
      <Toaster />
      <Help open={help} onClose={() => setHelp(false)} />
      <Announcer />
    </div>
  );
}

function useDocumentTitle(): void {
  const app = useApp();
  const { t, language } = useSpeech();
  const thread = useObservable(app.current);
  const { conversation } = useObservable(thread);
  const { items } = useObservable(app.conversations);
  const title = items.find((item) => item.id === conversation?.id)?.title ?? conversation?.title;
  useEffect(() => {
    document.documentElement.lang = LOCALES[language];
    document.title = `${title?.trim() || t('app.chat')} · ${app.shell.tenantName}`;
  }, [app, language, t, title]);
}

/** Tells a screen reader once that an answer ended; the tokens themselves would only stammer. */
function Announcer() {
  const app = useApp();
  const t = useT();
  const ended = useObservable(app.ended);
  const keys: Partial<Record<string, MessageKey>> = { stopped: 'message.doneStopped', failed: 'message.doneFailed' };
  return (
    <div className="sr-only" role="status" aria-live="polite" data-testid="announcer">
      {ended && <span key={ended.count}>{t(keys[ended.status] ?? 'message.done')}</span>}
    </div>
  );
}
