import type { FoundConversation } from '../api/contract';
import { Failure } from '../api/failure';
import { Observable } from '../store/observable';

export interface FinderState {
  text: string;
  /** `idle`: nothing is looked for. */
  phase: 'idle' | 'looking' | 'ready' | 'failed';
  /** While it looks again, what was found before. */
  found: readonly FoundConversation[];
  failure: Failure | null;
}

/** How long somebody has to stop typing before it is looked for, in milliseconds. */
const PAUSE_MS = 200;
const MOST_CHARS = 200;

/** Looks for conversations by what they say, while somebody types. */
export class Finder extends Observable<FinderState> {
  readonly #find: (text: string) => Promise<FoundConversation[]>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Counts what was asked: an answer to an older question is not used. */
  #asked = 0;

  constructor(find: (text: string) => Promise<FoundConversation[]>) {
    super({ text: '', phase: 'idle', found: [], failure: null });
    this.#find = find;
  }

  look(text: string): void {
    clearTimeout(this.#timer);
    this.#asked += 1;
    if (text.trim() === '') {
      this.set({ text, phase: 'idle', found: [], failure: null });
      return;
    }
    this.patch({ text: text.slice(0, MOST_CHARS), phase: 'looking' });
    this.#timer = setTimeout(() => void this.again(), PAUSE_MS);
  }

  /** Asks once more for what is looked for. */
  async again(): Promise<void> {
    this.#asked += 1;
    const asked = this.#asked;
    this.patch({ phase: 'looking', failure: null });
    try {
      const found = await this.#find(this.get().text.trim());
      if (asked === this.#asked) this.patch({ phase: 'ready', found });
    } catch (error) {
      if (asked === this.#asked) this.patch({ phase: 'failed', failure: Failure.from(error), found: [] });
    }
  }
}

/** A text in pieces; those with `true` are what was looked for. */
export function marked(text: string, wanted: string): [piece: string, hit: boolean][] {
  const words = wanted.split(/[\s.,;:!?/\\_@'"()[\]{}-]+/).filter(Boolean).map((word) => word.replace(/[^\p{L}\p{N}]/gu, ''));
  const parts = words.filter(Boolean);
  if (parts.length === 0) return [[text, false]];
  const pattern = new RegExp(`(${parts.join('|')})`, 'giu');
  return text.split(pattern).flatMap((piece, index): [string, boolean][] => (piece === '' ? [] : [[piece, index % 2 === 1]]));
}
