import { useCallback, useSyncExternalStore } from 'react';

export const PHONE = '(max-width: 767px)';
export const DARK = '(prefers-color-scheme: dark)';
export const TOUCH = '(hover: none) and (pointer: coarse)';

export function matches(query: string): boolean {
  return window.matchMedia(query).matches;
}

export function useMedia(query: string): boolean {
  const subscribe = useCallback(
    (listener: () => void) => {
      const list = window.matchMedia(query);
      list.addEventListener('change', listener);
      return () => list.removeEventListener('change', listener);
    },
    [query],
  );
  return useSyncExternalStore(subscribe, () => matches(query));
}
