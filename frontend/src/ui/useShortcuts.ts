import { useEffect } from 'react';
import type { ChatApp } from '../chat/app';

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))
  );
}

/** Ctrl/Cmd+K or `/`: a new chat. Esc: stops the answer. */
export function useShortcuts(app: ChatApp): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.isComposing) return;
      const modified = event.ctrlKey || event.metaKey;
      if ((modified && !event.shiftKey && !event.altKey && event.key.toLowerCase() === 'k') || slash(event, modified)) {
        event.preventDefault();
        app.newChat();
        focusComposer();
      } else if (event.key === 'Escape' && app.current.get().busy) {
        event.preventDefault();
        void app.current.get().stop();
      }
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [app]);
}

function slash(event: KeyboardEvent, modified: boolean): boolean {
  return event.key === '/' && !modified && !event.altKey && !isTyping(event.target);
}

export function focusComposer(): void {
  // After the page for the new chat has been drawn.
  requestAnimationFrame(() => document.getElementById('composer')?.focus());
}
