import { useEffect } from 'react';
import type { ChatApp } from '../chat/app';
import type { MessageKey } from '../i18n/catalog';

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

type Name = 'search' | 'newChat' | 'write' | 'stop' | 'older' | 'newer' | 'edit' | 'help';

interface Shortcut {
  label: MessageKey;
  /** As it is written for people; Mod is Ctrl, or the command key. */
  keys: string;
}

/** What the help dialog lists. */
export const SHORTCUTS: Record<Name, Shortcut> = {
  newChat: { label: 'app.newChat', keys: 'Mod+Shift+O' },
  search: { label: 'search.label', keys: 'Mod+K' },
  write: { label: 'keys.write', keys: '/' },
  edit: { label: 'keys.edit', keys: '↑' },
  stop: { label: 'keys.stop', keys: 'Esc' },
  newer: { label: 'keys.newer', keys: 'Alt+↑' },
  older: { label: 'keys.older', keys: 'Alt+↓' },
  help: { label: 'keys.title', keys: 'Mod+/' },
};

/** The keys of a shortcut, as this machine's keyboard names them. */
export function keysOf(name: Name): string {
  const { keys } = SHORTCUTS[name];
  if (!MAC) return keys.replace('Mod', 'Ctrl');
  return keys.replace('Mod', '⌘').replace('Shift', '⇧').replace('Alt', '⌥').replaceAll('+', '');
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))
  );
}

/** What somebody pressed, if it is a shortcut of the page. */
function pressed(event: KeyboardEvent): Name | null {
  const modified = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (modified && event.shiftKey && !event.altKey) return key === 'o' ? 'newChat' : null;
  if (modified && !event.altKey) return key === 'k' ? 'search' : key === '/' ? 'help' : null;
  if (event.altKey && !modified && !event.shiftKey) return key === 'arrowup' ? 'newer' : key === 'arrowdown' ? 'older' : null;
  if (modified || event.altKey) return null;
  if (key === 'escape') return 'stop';
  if (isTyping(event.target)) return null;
  return key === '/' ? 'write' : key === '?' ? 'help' : null;
}

interface Actions {
  openHelp: () => void;
  /** On a phone the list is away until it is asked for. */
  openList: () => void;
}

export function useShortcuts(app: ChatApp, { openHelp, openList }: Actions): void {
  useEffect(() => {
    const acts: Record<Name, () => boolean | void> = {
      newChat: () => {
        app.newChat();
        focusComposer();
      },
      search: () => {
        openList();
        focusSoon('conversation-search');
      },
      write: focusComposer,
      help: openHelp,
      newer: () => step(app, -1),
      older: () => step(app, 1),
      edit: () => false,
      stop: () => {
        if (!app.current.get().busy) return false;
        void app.current.get().stop();
      },
    };
    const onKey = (event: KeyboardEvent): void => {
      // An open dialog has its own keys.
      if (event.defaultPrevented || event.isComposing || document.querySelector('dialog[open]')) return;
      const name = pressed(event);
      if (name && acts[name]() !== false) event.preventDefault();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [app, openHelp, openList]);
}

/** Opens the conversation above or below the open one, in the order of the list. */
function step(app: ChatApp, by: 1 | -1): void {
  const { pinned, items } = app.conversations.get();
  const ids = [...pinned, ...items.filter((item) => !item.pinned_at)].map((item) => item.id);
  const open = app.route.get();
  const next = open === null ? (by === 1 ? ids[0] : undefined) : ids[ids.indexOf(open) + by];
  if (next !== undefined) app.route.go(next);
}

export function focusComposer(): void {
  focusSoon('composer');
}

let wanted = '';

/** At once, for whoever types on; and after the page has been drawn, if it was not there yet or was drawn anew. */
function focusSoon(id: string): void {
  wanted = id;
  document.getElementById(id)?.focus();
  requestAnimationFrame(() => {
    if (wanted === id && document.activeElement?.id !== id) document.getElementById(id)?.focus();
  });
}
