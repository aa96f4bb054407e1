import { useEffect, useState } from 'react';
import type { Thread } from '../chat/thread';
import { useObservable } from '../store/observable';
import { useApp } from './context';

/** The tool that an agent must have to be given files. */
const TOOL = 'read_file';

export interface Files {
  /** The conversation's agent reads files. */
  able: boolean;
  /** Attaches files to the message that is being written, or says why not. */
  attach: (files: Iterable<File>) => void;
}

export function useFiles(thread: Thread): Files {
  const app = useApp();
  const { conversation } = useObservable(thread);
  const { items } = useObservable(app.agents);
  const chosen = useObservable(app.agent);
  const slug = conversation?.agent?.slug ?? chosen;
  const able = items.find((agent) => agent.slug === slug)?.tools?.includes(TOOL) ?? false;
  const attach = (files: Iterable<File>): void => {
    if (able) thread.attach(files, chosen);
    else app.toasts.show({ text: { key: 'files.unable' } });
  };
  return { able, attach };
}

/** Files may be dropped anywhere on the page; true while some are held above it. */
export function useDrop(attach: (files: Iterable<File>) => void): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const holdsFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes('Files') ?? false;
    const enter = (event: DragEvent): void => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    // Entering a child leaves its parent: only what leaves the window has left.
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent): void => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      setOver(false);
      attach([...(event.dataTransfer?.files ?? [])]);
    };
    window.addEventListener('dragover', enter);
    window.addEventListener('dragleave', leave);
    window.addEventListener('drop', drop);
    return () => {
      window.removeEventListener('dragover', enter);
      window.removeEventListener('dragleave', leave);
      window.removeEventListener('drop', drop);
    };
  }, [attach]);
  return over;
}
