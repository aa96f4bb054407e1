import { renderToStaticMarkup } from 'react-dom/server';
import { describe, expect, it } from 'vitest';
import { type Language, translator } from '../../src/i18n/catalog';
import { LanguageProvider } from '../../src/i18n/language';
import { Observable } from '../../src/store/observable';
import { Page } from '../../src/ui/context';
import { FailureNotice, waitText } from '../../src/ui/FailureNotice';

const english = new Observable<Language>('en');

function notice(code: string, retryAfter: number): string {
  const failure = { code, message: '', retryAfter, at: Date.now() };
  return renderToStaticMarkup(
    <LanguageProvider source={english}>
      <Page value={{} as never}>
        <FailureNotice failure={failure} onRetry={() => undefined} />
      </Page>
    </LanguageProvider>,
  );
}

describe('when to try again', () => {
  it('counts seconds, then minutes', () => {
    const t = translator('en');
    expect(waitText(t, 0)).toBe('Try again');
    expect(waitText(t, 90)).toBe('Try again in 90 s');
    expect(waitText(t, 121)).toBe('Try again in 3 min');
  });

  it('leads to the limits where a quota is used up for days', () => {
    expect(notice('quota_exceeded', 5 * 86_400)).toContain('href="/profile/#limits"');
    expect(notice('quota_exceeded', 5 * 86_400)).not.toContain('<button');
    expect(notice('quota_exceeded', 60)).toContain('data-testid="retry"');
    expect(notice('rate_limited', 86_400)).not.toContain('remedy');
  });
});
