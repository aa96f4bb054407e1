import type { Api } from '../api/client';
import type { Conversation } from '../api/contract';
import { Failure } from '../api/failure';
import { Observable } from '../store/observable';

export interface ConversationsState {
  items: readonly Conversation[];
  cursor: string | null;
  phase: 'loading' | 'ready' | 'failed';
  loadingMore: boolean;
  failure: Failure | null;
}

function timeOf(conversation: Conversation | undefined): number {
  return conversation ? Date.parse(conversation.updated_at) : 0;
}

/** The list of conversations, newest first, a page at a time. */
export class Conversations extends Observable<ConversationsState> {
  readonly #api: Api;
  /** Deleted here and perhaps still in an answer that is on its way. */
  readonly #removed = new Set<string>();
  /** When (by `#tick`) a conversation was put here; a reading that began before does not know of it. */
  readonly #put = new Map<string, number>();
  #tick = 0;

  constructor(api: Api) {
    super({ items: [], cursor: null, phase: 'loading', loadingMore: false, failure: null });
    this.#api = api;
  }

  find(id: string | null): Conversation | undefined {
    return this.get().items.find((item) => item.id === id);
  }

  /** Reads the first page again and keeps what was paged in behind it. */
  async refresh(): Promise<void> {
    const began = this.#tick;
    try {
      const page = await this.#api.conversations();
      const { items, cursor, phase } = this.get();
      const newer = items.filter((item) => (this.#put.get(item.id) ?? 0) > began);
      const known = phase === 'ready' && items.length > page.conversations.length;
      const oldest = timeOf(page.conversations.at(-1));
      const behind = known ? items.filter((item) => timeOf(item) < oldest) : [];
      this.patch({
        items: this.#merge([...newer, ...page.conversations], behind),
        cursor: known ? cursor : page.next_cursor,
        phase: 'ready',
        failure: null,
      });
    } catch (error) {
      const failure = Failure.from(error);
      this.patch({ failure, phase: this.get().phase === 'ready' ? 'ready' : 'failed' });
      throw failure;
    }
  }

  async loadMore(): Promise<void> {
    const { cursor, loadingMore } = this.get();
    if (cursor === null || loadingMore) return;
    this.patch({ loadingMore: true });
    try {
      const page = await this.#api.conversations(cursor);
      this.patch({
        items: this.#merge(this.get().items, page.conversations),
        cursor: page.next_cursor,
        loadingMore: false,
        failure: null,
      });
    } catch (error) {
      this.patch({ loadingMore: false, failure: Failure.from(error) });
    }
  }

  /** A conversation as the server just told it; the newest activity comes first. */
  put(conversation: Conversation): void {
    if (this.#removed.has(conversation.id)) return;
    this.#tick += 1;
    this.#put.set(conversation.id, this.#tick);
    this.patch({ items: this.#merge([conversation], this.get().items) });
  }

  /** What became of the conversation's run. */
  mark(id: string, run: Partial<Pick<Conversation, 'active_run_id' | 'waiting'>>): void {
    this.#edit(id, run);
  }

  async rename(id: string, title: string): Promise<void> {
    const before = this.find(id)?.title;
    this.#edit(id, { title });
    try {
      await this.#api.rename(id, title);
    } catch (error) {
      if (before !== undefined) this.#edit(id, { title: before });
      throw Failure.from(error);
    }
  }

  /** Takes the conversation out at once and puts it back where the server refuses. */
  async remove(id: string): Promise<void> {
    const before = this.get().items;
    this.#removed.add(id);
    this.patch({ items: before.filter((item) => item.id !== id) });
    try {
      await this.#api.remove(id);
    } catch (error) {
      this.#removed.delete(id);
      this.patch({ items: before });
      throw Failure.from(error);
    }
  }

  async restore(conversation: Conversation): Promise<void> {
    await this.#api.restore(conversation.id);
    this.#removed.delete(conversation.id);
    this.put(conversation);
  }

  #edit(id: string, change: Partial<Conversation>): void {
    const { items } = this.get();
    if (!items.some((item) => item.id === id)) return;
    this.patch({ items: items.map((item) => (item.id === id ? { ...item, ...change } : item)) });
  }

  /** Newest first. `first` wins where both have a conversation; a page may shift while it is being read. */
  #merge(first: readonly Conversation[], second: readonly Conversation[]): Conversation[] {
    const seen = new Set<string>(this.#removed);
    const all = [...first, ...second].filter((item) => {
      if (seen.has(item.id)) return false;
      seen.add(item.id);
      return true;
    });
    return all.sort((one, other) => timeOf(other) - timeOf(one));
  }
}
