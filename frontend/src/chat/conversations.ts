import type { Api } from '../api/client';
import type { Conversation } from '../api/contract';
import { Failure } from '../api/failure';
import { Observable } from '../store/observable';

export interface ConversationsState {
  /** All that are pinned, also where they are too old to be in `items`; the one pinned last comes first. */
  pinned: readonly Conversation[];
  items: readonly Conversation[];
  cursor: string | null;
  phase: 'loading' | 'ready' | 'failed';
  loadingMore: boolean;
  failure: Failure | null;
}

function timeOf(conversation: Conversation | undefined): number {
  return conversation ? Date.parse(conversation.updated_at) : 0;
}

/** The one that was pinned last comes first. */
function byPin(items: readonly Conversation[]): Conversation[] {
  return [...items].sort((one, other) => (other.pinned_at ?? '').localeCompare(one.pinned_at ?? ''));
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
    super({ pinned: [], items: [], cursor: null, phase: 'loading', loadingMore: false, failure: null });
    this.#api = api;
  }

  find(id: string | null): Conversation | undefined {
    const { items, pinned } = this.get();
    return items.find((item) => item.id === id) ?? pinned.find((item) => item.id === id);
  }

  /** Reads the first page again and keeps what was paged in behind it. */
  async refresh(): Promise<void> {
    const began = this.#tick;
    try {
      const [page, kept] = await Promise.all([this.#api.conversations(), this.#api.pinned()]);
      const { items, cursor, phase } = this.get();
      const newer = items.filter((item) => (this.#put.get(item.id) ?? 0) > began);
      const known = phase === 'ready' && items.length > page.conversations.length;
      const oldest = timeOf(page.conversations.at(-1));
      const behind = known ? items.filter((item) => timeOf(item) < oldest) : [];
      this.patch({
        pinned: byPin(kept.conversations.filter((item) => !this.#removed.has(item.id))),
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
    await this.#change(id, { title }, () => this.#api.edit(id, { title }));
  }

  async pin(id: string, pinned: boolean): Promise<void> {
    const pinned_at = pinned ? new Date().toISOString() : null;
    await this.#change(id, { pinned_at }, () => this.#api.edit(id, { pinned }));
  }

  /** Shows a change at once, and takes it back where the server refuses it. */
  async #change(id: string, change: Partial<Conversation>, ask: () => Promise<unknown>): Promise<void> {
    const before = this.find(id);
    this.#edit(id, change);
    try {
      await ask();
    } catch (error) {
      if (before) this.#edit(id, { pinned_at: null, ...before });
      throw Failure.from(error);
    }
  }

  /** Takes the conversation out at once and puts it back where the server refuses. */
  async remove(id: string): Promise<void> {
    const { items, pinned } = this.get();
    this.#removed.add(id);
    this.patch({ items: items.filter((item) => item.id !== id), pinned: pinned.filter((item) => item.id !== id) });
    try {
      await this.#api.remove(id);
    } catch (error) {
      this.#removed.delete(id);
      this.patch({ items, pinned });
      throw Failure.from(error);
    }
  }

  async restore(conversation: Conversation): Promise<void> {
    await this.#api.restore(conversation.id);
    this.#removed.delete(conversation.id);
    this.put(conversation);
    if (conversation.pinned_at) this.patch({ pinned: byPin([...this.get().pinned, conversation]) });
  }

  #edit(id: string, change: Partial<Conversation>): void {
    const found = this.find(id);
    if (!found) return;
    const changed = { ...found, ...change };
    const { items, pinned } = this.get();
    const rest = pinned.filter((item) => item.id !== id);
    this.patch({
      items: items.map((item) => (item.id === id ? changed : item)),
      pinned: changed.pinned_at ? byPin([...rest, changed]) : rest,
    });
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
