export type TabNews =
  | { kind: 'turn'; conversationId: string; runId: string }
  | { kind: 'changed'; conversationId: string }
  | { kind: 'signed_out' };

/** News between the tabs of one browser: a turn that began, a conversation that was renamed or deleted. */
export class Tabs {
  readonly #channel: BroadcastChannel | null;

  constructor(name: string, onNews: (news: TabNews) => void) {
    this.#channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel(name);
    if (this.#channel) this.#channel.onmessage = (message) => onNews(message.data as TabNews);
  }

  tell(news: TabNews): void {
    this.#channel?.postMessage(news);
  }

  close(): void {
    this.#channel?.close();
  }
}
