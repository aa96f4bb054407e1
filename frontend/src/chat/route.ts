import { Observable } from '../store/observable';

const PATTERN = /^\/chat\/([^/]+)\/?$/;

export function conversationPath(id: string | null): string {
  return id === null ? '/chat/' : `/chat/${encodeURIComponent(id)}/`;
}

export function conversationOf(path: string): string | null {
  const match = PATTERN.exec(path);
  return match?.[1] === undefined ? null : decodeURIComponent(match[1]);
}

/** The conversation in the address bar; null is the page for a new one. */
export class Route extends Observable<string | null> {
  constructor() {
    super(conversationOf(location.pathname));
    window.addEventListener('popstate', () => this.set(conversationOf(location.pathname)));
  }

  /** `replace`: the new conversation got its id, which is no step back. */
  go(id: string | null, replace = false): void {
    const path = conversationPath(id);
    if (path !== location.pathname) {
      if (replace) history.replaceState(null, '', path);
      else history.pushState(null, '', path);
    }
    this.set(id);
  }
}
