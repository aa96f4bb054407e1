import { beforeEach, describe, expect, it } from 'vitest';
import { nextTheme, themeStore } from '../../src/ui/theme';

beforeEach(() => {
  localStorage.clear();
  delete document.documentElement.dataset.theme;
});

describe('theme', () => {
  it('changes what is seen on the first press, and comes round', () => {
    expect(nextTheme('system', false)).toBe('dark');
    expect(nextTheme('system', true)).toBe('light');
    for (const dark of [true, false]) {
      const round = nextTheme(nextTheme(nextTheme('system', dark), dark), dark);
      expect(round).toBe('system');
    }
  });

  it('is remembered and applied', () => {
    themeStore().set('dark');
    expect(document.documentElement.dataset.theme).toBe('dark');
    expect(themeStore().get()).toBe('dark');
    themeStore().set('system');
    expect(localStorage).toHaveLength(0);
    expect(document.documentElement.dataset.theme).toBeUndefined();
  });
});
