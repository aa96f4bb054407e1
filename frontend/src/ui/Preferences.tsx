import { csrfToken } from '../api/client';
import type { MessageKey } from '../i18n/catalog';
import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { usePage } from './context';
import { KeyboardIcon, MoonIcon, SettingsIcon, SignOutIcon, SunIcon, SystemIcon } from './icons';
import { nextTheme, type Theme } from './theme';
import { DARK, matches } from './useMedia';

const THEME_ICONS = { system: SystemIcon, light: SunIcon, dark: MoonIcon };
const THEME_NAMES: Record<Theme, MessageKey> = {
  system: 'theme.system',
  light: 'theme.light',
  dark: 'theme.dark',
};

/** Who is signed in, and the choices that go with the person: theme, language, sign out. */
export function Preferences({ onHelp }: { onHelp: () => void }) {
  const { app, theme, language } = usePage();
  const t = useT();
  const chosen = useObservable(theme);
  const ThemeIcon = THEME_ICONS[chosen];
  return (
    <div className="preferences">
      <p className="truncate px-1 text-[0.8125rem] text-soft" title={app.shell.userEmail}>
        {app.shell.userEmail}
      </p>
      <div className="flex items-center gap-1">
        <button
          type="button"
          className="icon-button"
          data-testid="theme-toggle"
          data-theme-choice={chosen}
          aria-label={t(THEME_NAMES[chosen])}
          title={t(THEME_NAMES[chosen])}
          onClick={() => theme.set(nextTheme(chosen, matches(DARK)))}
        >
          <ThemeIcon />
        </button>
        <button
          type="button"
          className="text-button"
          data-testid="language-switch"
          title={t('language.switch')}
          onClick={() => {
            const other = language.get() === 'en' ? 'zh-hans' : 'en';
            language.set(other);
            app.api.setLanguage(other).catch(() => app.toasts.show({ text: { key: 'language.failed' } }));
          }}
        >
          <span lang={language.get() === 'en' ? 'zh-Hans' : 'en'}>{t('language.other')}</span>
        </button>
        <button
          type="button"
          className="icon-button ml-auto"
          data-testid="show-help"
          aria-label={t('keys.title')}
          title={t('keys.title')}
          onClick={onHelp}
        >
          <KeyboardIcon size={18} />
        </button>
        {app.shell.settingsUrl && (
          <a
            href={app.shell.settingsUrl}
            className="icon-button"
            data-testid="settings"
            aria-label={t('app.settings')}
            title={t('app.settings')}
          >
            <SettingsIcon />
          </a>
        )}
        <form
          method="post"
          action="/logout/"
          onSubmit={(event) => {
            const token = event.currentTarget.elements.namedItem('csrfmiddlewaretoken');
            if (token instanceof HTMLInputElement) token.value = csrfToken();
            app.signingOut();
          }}
        >
          <input type="hidden" name="csrfmiddlewaretoken" />
          <button
            type="submit"
            className="icon-button"
            data-testid="sign-out"
            aria-label={t('app.signOut')}
            title={t('app.signOut')}
          >
            <SignOutIcon />
          </button>
        </form>
      </div>
    </div>
  );
}
