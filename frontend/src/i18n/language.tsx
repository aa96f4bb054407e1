import { createContext, type ReactNode, useContext, useMemo } from 'react';
import { type Observable, useObservable } from '../store/observable';
import { type Language, type Translate, translator } from './catalog';

interface Speech {
  language: Language;
  t: Translate;
}

const SpeechContext = createContext<Speech | null>(null);

export function LanguageProvider({ source, children }: { source: Observable<Language>; children: ReactNode }) {
  const language = useObservable(source);
  const speech = useMemo(() => ({ language, t: translator(language) }), [language]);
  return <SpeechContext value={speech}>{children}</SpeechContext>;
}

export function useSpeech(): Speech {
  const speech = useContext(SpeechContext);
  if (!speech) throw new Error('useSpeech needs a LanguageProvider');
  return speech;
}

export function useT(): Translate {
  return useSpeech().t;
}
