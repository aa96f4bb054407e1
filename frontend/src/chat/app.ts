import { Api } from '../api/client';
import type { Agent, Conversation } from '../api/contract';
import { Failure, needsSignIn } from '../api/failure';
import { frameScheduler } from '../run/frames';
import { Runs } from '../run/runs';
import { Observable } from '../store/observable';
import { Line } from '../transport/line';
import { chatSocketUrl } from '../transport/socket';
import { Conversations } from './conversations';
import { Drafts, tabStorage } from './drafts';
import type { Entry } from './entry';
import { Finder } from './finder';
import { findLostTurn } from './lost';
import { Route } from './route';
import { Sources } from './sources';
import { Tabs, type TabNews } from './tabs';
import { Thread, type ThreadEvents } from './thread';
import { Toasts } from './toasts';

export interface Shell {
  tenantName: string;
  tenantSlug: string;
  userEmail: string;
  userId: string;
  /** The person's first page beside the chat: their profile, or the settings they may open. */
  settingsUrl: string;
  /** The workspace's logo; empty: its initial. */
  logoUrl: string;
}

export interface AgentsState {
  items: readonly Agent[];
  phase: 'loading' | 'ready' | 'failed';
}

/** Threads kept in memory besides the open one; an older one is read again when it is opened. */
const KEPT_THREADS = 12;
/** A page that was looked away from for longer than this reads its lists again. */
const STALE_MS = 30_000;

/** A connection that was away for less is not worth a word. */
const NOTICED_MS = 3_000;
/** A timer that comes this much too late: the machine slept. */
const SLEPT_MS = 60_000;

/** Tells when the machine has woken up. */
function watchForSleep(woke: () => void): void {
  const every = 10_000;
  let last = Date.now();
  setInterval(() => {
    const now = Date.now();
    // Timers of a tab that nobody looks at come once a minute; that is no sleep.
    if (now - last > every + SLEPT_MS) woke();
    last = now;
  }, every);
}

/** The page: what is open, what it is connected to, and what happens between its parts. */
export class ChatApp {
  readonly api = new Api();
  readonly agents = new Observable<AgentsState>({ items: [], phase: 'loading' });
  readonly agent = new Observable<string | null>(null);
  readonly route = new Route();
  readonly toasts = new Toasts();
  readonly conversations = new Conversations(this.api);
  readonly finder = new Finder((text) => this.api.find(text));
  readonly sources = new Sources((runId) => this.api.sources(runId));
  /** Why nothing can be done any more: signed out, suspended, a foreign origin. */
  readonly blocked = new Observable<Failure | null>(null);
  /** Said to screen readers when an answer ended. */
  readonly ended = new Observable<{ status: Entry['status']; count: number } | null>(null);
  readonly current: Observable<Thread>;
  readonly runs: Runs;
  readonly line: Line;
  readonly drafts: Drafts;
  readonly #tabs: Tabs;
  readonly #threads = new Map<string, Thread>();
  #fresh: Thread;
  #read = Date.now();
  /** Since when there was no connection; null while there is one. */
  #lostAt: number | null = null;
  /** Something was being written when the connection was lost. */
  #lostBusy = false;

  constructor(readonly shell: Shell) {
    this.drafts = new Drafts(tabStorage(), `${shell.tenantSlug}:${shell.userEmail}`);
    this.runs = new Runs(frameScheduler(), {
      lost: (runId, failure) => this.#each((thread) => void thread.runLost(runId, failure)),
      failure: (failure) => this.fail(failure),
    });
    this.line = new Line(this.api, this.runs, {
      url: chatSocketUrl(location),
      socket: (url) => new WebSocket(url),
    });
    this.runs.attach(this.line);
    this.#tabs = new Tabs(`chat:${shell.tenantSlug}:${shell.userEmail}`, (news) => this.#hear(news));
    this.#fresh = this.#makeThread(null);
    this.current = new Observable(this.#thread(this.route.get()));
    this.route.subscribe(() => this.#open(this.route.get()));
  }

  start(): void {
    this.line.state.subscribe(() => this.#lineChanged());
    this.line.open();
    watchForSleep(() => this.#slept());
    window.addEventListener('online', () => this.line.wake());
    window.addEventListener('offline', () => this.line.networkLost());
    window.addEventListener('pageshow', (event) => event.persisted && this.#wake());
    document.addEventListener('visibilitychange', () => !document.hidden && this.#wake());
    void this.loadAgents();
    void this.refresh();
    void this.current.get().load();
    void this.#resumeLost();
  }

  /** Opens the page for a new conversation. */
  newChat(): void {
    this.route.go(null);
  }

  async loadAgents(): Promise<void> {
    try {
      const items = (await this.api.agents()).filter((agent) => agent.kind !== 'builtin');
      this.agents.set({ items, phase: 'ready' });
      const known = (slug: string | null): boolean => items.some((agent) => agent.slug === slug);
      const last = this.drafts.lastAgent();
      if (!known(this.agent.get())) this.agent.set(known(last) ? last : (items[0]?.slug ?? null));
    } catch (error) {
      this.agents.set({ items: [], phase: 'failed' });
      this.fail(Failure.from(error));
    }
  }

  /** Whom new conversations are with from now on, also after the page was left. */
  chooseAgent(slug: string): void {
    this.agent.set(slug);
    this.drafts.rememberAgent(slug);
  }

  async refresh(): Promise<void> {
    this.#read = Date.now();
    try {
      await this.conversations.refresh();
    } catch (error) {
      this.fail(Failure.from(error));
    }
  }

  async rename(id: string, title: string): Promise<void> {
    try {
      await this.conversations.rename(id, title);
      this.#threads.get(id)?.rename(title);
      this.#tabs.tell({ kind: 'changed', conversationId: id });
    } catch (error) {
      this.toasts.show({ text: { key: 'toast.renameFailed' }, failure: this.fail(Failure.from(error)) });
    }
  }

  async pin(id: string, pinned: boolean): Promise<void> {
    try {
      await this.conversations.pin(id, pinned);
      this.#tabs.tell({ kind: 'changed', conversationId: id });
    } catch (error) {
      this.toasts.show({ text: { key: 'toast.pinFailed' }, failure: this.fail(Failure.from(error)) });
    }
  }

  /** Opens a conversation at one of its messages, in whichever branch that is. */
  async openAt(id: string, messageId: string): Promise<void> {
    this.route.go(id);
    await this.#thread(id).find(messageId);
  }

  /** Deletes at once and offers the way back. */
  async remove(conversation: Conversation): Promise<void> {
    const wasOpen = this.route.get() === conversation.id;
    if (wasOpen) this.newChat();
    try {
      await this.conversations.remove(conversation.id);
    } catch (error) {
      this.toasts.show({ text: { key: 'toast.deleteFailed' }, failure: this.fail(Failure.from(error)) });
      return;
    }
    this.#threads.delete(conversation.id);
    this.#tabs.tell({ kind: 'changed', conversationId: conversation.id });
    this.toasts.show({
      text: { key: 'toast.deleted', values: { title: conversation.title } },
      undo: () => void this.#restore(conversation, wasOpen),
    });
  }

  /** Says goodbye to the other tabs; the caller posts the form. */
  signingOut(): void {
    this.drafts.clear();
    this.#tabs.tell({ kind: 'signed_out' });
    this.line.close();
  }

  /** A failure that blocks everything is kept apart from those of one message. Returns it. */
  fail(failure: Failure): Failure {
    if (needsSignIn(failure.code) || failure.code === 'tenant_suspended') this.blocked.set(failure);
    else if (this.line.state.get().status === 'refused') this.blocked.set(failure);
    return failure;
  }

  async #restore(conversation: Conversation, open: boolean): Promise<void> {
    try {
      await this.conversations.restore(conversation);
      this.#tabs.tell({ kind: 'changed', conversationId: conversation.id });
      if (open) this.route.go(conversation.id);
    } catch (error) {
      this.toasts.show({ text: { key: 'toast.restoreFailed' }, failure: this.fail(Failure.from(error)) });
    }
  }

  #open(id: string | null): void {
    const thread = this.#thread(id);
    this.current.set(thread);
    if (thread.id !== null && !thread.busy) void thread.load();
  }

  #thread(id: string | null): Thread {
    if (id === null) return this.#fresh;
    let thread = this.#threads.get(id);
    if (!thread) thread = this.#makeThread(id);
    // Most recently used last.
    this.#threads.delete(id);
    this.#threads.set(id, thread);
    this.#forgetOld();
    return thread;
  }

  #forgetOld(): void {
    for (const [id, thread] of this.#threads) {
      if (this.#threads.size <= KEPT_THREADS) return;
      if (!thread.busy && id !== this.route.get()) this.#threads.delete(id);
    }
  }

  #makeThread(id: string | null): Thread {
    const events: ThreadEvents = {
      named: (thread, conversation) => this.#named(thread, conversation),
      turned: (conversation, runId) => {
        this.conversations.put({ ...conversation, active_run_id: runId });
        this.#tabs.tell({ kind: 'turn', conversationId: conversation.id, runId });
      },
      waits: (thread, waiting) => this.#threadWaits(thread, waiting),
      ended: (thread, status) => this.#threadEnded(thread, status),
      failed: (failure) => void this.fail(failure),
    };
    const existed = (other: string): boolean => this.conversations.find(other) !== undefined;
    return new Thread(id, { api: this.api, runs: this.runs, drafts: this.drafts, events, existed });
  }

  #named(thread: Thread, conversation: Conversation): void {
    this.#threads.set(conversation.id, thread);
    this.conversations.put(conversation);
    this.#fresh = this.#makeThread(null);
    if (this.current.get() === thread) this.route.go(conversation.id, true);
  }

  #threadWaits(thread: Thread, waiting: boolean): void {
    if (thread.id === null) return;
    this.conversations.mark(thread.id, { waiting });
    this.#tabs.tell({ kind: 'changed', conversationId: thread.id });
  }

  #threadEnded(thread: Thread, status: Entry['status']): void {
    if (thread.id !== null) this.conversations.mark(thread.id, { active_run_id: null, waiting: false });
    if (thread === this.current.get()) {
      this.ended.set({ status, count: (this.ended.get()?.count ?? 0) + 1 });
    }
    // The server may have given the conversation a title.
    void this.refresh();
  }

  #each(act: (thread: Thread) => void): void {
    for (const thread of new Set([...this.#threads.values(), this.current.get()])) act(thread);
  }

  #hear(news: TabNews): void {
    if (news.kind === 'signed_out') {
      this.blocked.set(new Failure('not_authenticated'));
      this.line.close();
      return;
    }
    void this.refresh();
    const thread = this.#threads.get(news.conversationId);
    if (thread && !thread.busy) {
      if (thread === this.current.get()) void thread.load();
      else this.#threads.delete(news.conversationId);
    }
  }

  #wake(): void {
    this.line.wake();
    if (Date.now() - this.#read < STALE_MS) return;
    void this.refresh();
    void this.current.get().load();
  }

  /** Back on the line: what could not be read before is read now, and whoever waited is told. */
  #lineChanged(): void {
    const { status } = this.line.state.get();
    if (status === 'offline' || status === 'reconnecting') {
      if (this.#lostAt === null) this.#lost();
      this.#lostBusy ||= this.current.get().busy;
    }
    if (status !== 'online') return;
    this.blocked.set(null);
    if (this.#lostAt !== null && Date.now() - this.#lostAt >= NOTICED_MS) {
      this.toasts.show({ text: { key: this.#lostBusy ? 'line.wentOn' : 'line.back' } });
    }
    this.#lostAt = null;
    const thread = this.current.get();
    if (thread.get().phase === 'failed') void thread.load();
    if (this.conversations.get().phase === 'failed') void this.refresh();
    if (this.agents.get().phase === 'failed') void this.loadAgents();
  }

  #lost(): void {
    this.#lostAt = Date.now();
    this.#lostBusy = this.current.get().busy;
  }

  /** The machine slept: the socket may be dead without knowing it, and what is shown is old. */
  #slept(): void {
    if (this.#lostAt === null) this.#lost();
    this.#lostAt = 0;
    this.line.wake();
    if (this.line.state.get().status === 'online') this.#lostAt = null;
    void this.refresh();
    void this.current.get().load();
  }

  /** The page was left while the first message of a new conversation was on its way. */
  async #resumeLost(): Promise<void> {
    const text = this.drafts.sending(null);
    if (text === '') return;
    const page = await findLostTurn(this.api, null, { text, asked: 0, existed: () => false });
    this.drafts.markSending(null, '');
    if (page) this.route.go(page.conversation.id);
    else this.#fresh.draft.set(this.#fresh.draft.get() || text);
  }
}
