/**
 * What was typed and not sent, per conversation, for the life of the tab. A message on its way is kept
 * beside the draft until the server has it, so that a reload in between loses nothing.
 */
export class Drafts {
  readonly #storage: Storage | null;
  readonly #prefix: string;

  constructor(storage: Storage | null, owner: string) {
    this.#storage = storage;
    this.#prefix = `chat:${owner}:`;
  }

  read(conversationId: string | null): string {
    return this.#get(`draft:${conversationId ?? 'new'}`);
  }

  write(conversationId: string | null, text: string): void {
    this.#put(`draft:${conversationId ?? 'new'}`, text);
  }

  /** The message that was sent and not confirmed yet. */
  sending(conversationId: string | null): string {
    return this.#get(`sending:${conversationId ?? 'new'}`);
  }

  markSending(conversationId: string | null, text: string): void {
    this.#put(`sending:${conversationId ?? 'new'}`, text);
  }

  /** Whom the last new conversation was to be with. */
  lastAgent(): string {
    return this.#get('agent');
  }

  rememberAgent(slug: string): void {
    this.#put('agent', slug);
  }

  /** On signing out: the next person at this machine must not find them. */
  clear(): void {
    if (!this.#storage) return;
    for (const key of Object.keys(this.#storage)) {
      if (key.startsWith('chat:')) this.#storage.removeItem(key);
    }
  }

  #get(name: string): string {
    return this.#storage?.getItem(this.#prefix + name) ?? '';
  }

  #put(name: string, text: string): void {
    if (text === '') this.#storage?.removeItem(this.#prefix + name);
    else this.#storage?.setItem(this.#prefix + name, text);
  }
}

/** The tab's storage, or null where the browser forbids it. */
export function tabStorage(): Storage | null {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}
