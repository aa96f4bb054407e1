import { Observable } from '../store/observable';

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'theme';

/** The remembered theme, applied to the page and to the browser's own controls. */
export function themeStore(): Observable<Theme> {
  const theme = new Observable<Theme>(remembered());
  apply(theme.get());
  theme.subscribe(() => {
    apply(theme.get());
    remember(theme.get());
  });
  window.addEventListener('storage', (event) => {
    if (event.key === KEY) theme.set(remembered());
  });
  return theme;
}

/** The first press always changes what is seen, whatever the system says. */
export function nextTheme(theme: Theme, systemIsDark: boolean): Theme {
  const order: Theme[] = systemIsDark ? ['system', 'light', 'dark'] : ['system', 'dark', 'light'];
  return order[(order.indexOf(theme) + 1) % order.length] ?? 'system';
}

function remembered(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'system';
  } catch {
    return 'system';
  }
}

function remember(theme: Theme): void {
  try {
    if (theme === 'system') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // Storage is forbidden: the choice holds until the page is left.
  }
}

function apply(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
