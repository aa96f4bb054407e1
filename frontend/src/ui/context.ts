import { createContext, useContext } from 'react';
import type { ChatApp } from '../chat/app';
import type { Language } from '../i18n/catalog';
import type { Observable } from '../store/observable';
import type { Theme } from './theme';

export interface PageContext {
  app: ChatApp;
  language: Observable<Language>;
  theme: Observable<Theme>;
}

export const Page = createContext<PageContext | null>(null);

export function usePage(): PageContext {
  const page = useContext(Page);
  if (!page) throw new Error('usePage needs the Page context');
  return page;
}

export function useApp(): ChatApp {
  return usePage().app;
}
