import type { Api } from '../api/client';
import type { Conversation, Feedback, MessagePage, TurnAccepted, TurnRequest } from '../api/contract';
import { Failure } from '../api/failure';
import type { RunFeed } from '../run/feed';
import type { Runs } from '../run/runs';
import { Observable } from '../store/observable';
import { newRef } from '../transport/turns';
import { Attachments } from './attachments';
import type { Drafts } from './drafts';
import { continuedEntry, type Entry, finishedEntry, keepUnchanged, liveEntry, sentEntry, storedEntry } from './entry';
import { findLostTurn, type LostTurn, sameText } from './lost';

export interface ThreadState {
  phase: 'loading' | 'ready' | 'failed';
  conversation: Conversation | null;
  entries: readonly Entry[];
  /** The run that writes the last entry. */
  runId: string | null;
  /** A message (or a retry) is on its way and not accepted yet. */
  sending: boolean;
  stopping: boolean;
  failure: Failure | null;
  /** The message that is to be brought into view, by its id. */
  wanted: string | null;
  /** What to do once more about the failure; null when repeating makes no sense. */
  again: (() => Promise<unknown>) | null;
}

const BLANK: Omit<ThreadState, 'phase'> = {
  conversation: null,
  entries: [],
  runId: null,
  sending: false,
  stopping: false,
  failure: null,
  wanted: null,
  again: null,
};

export interface ThreadEvents {
  /** The first turn of a new conversation was accepted: the thread has an id now. */
  named(thread: Thread, conversation: Conversation): void;
  turned(conversation: Conversation, runId: string): void;
  /** The answer that is being written waits for a person to decide, or goes on. */
  waits(thread: Thread, waiting: boolean): void;
  ended(thread: Thread, outcome: Entry['status']): void;
  failed(failure: Failure): void;
}

interface ThreadParts {
  api: Api;
  runs: Runs;
  drafts: Drafts;
  events: ThreadEvents;
  /** True for a conversation that the page knew before. */
  existed: (conversationId: string) => boolean;
}

/** A run that can still not be followed after this many readings of the messages is reported as a failure. */
const MOST_RESYNCS = 5;

/** One conversation on the page: its messages, and the turn that is going on. */
export class Thread extends Observable<ThreadState> {
  /** What stands in the composer; kept for the life of the tab. */
  readonly draft: Observable<string>;
  readonly attachments: Attachments;
  /** Tells threads apart before they have an id. */
  readonly serial = newRef();
  readonly #parts: ThreadParts;
  #id: string | null;
  /** Counts the turns begun here: a reading of the messages that is older than the last one is not used. */
  #turns = 0;
  /** The failure that is shown is one of reading the messages. */
  #readFailed = false;
  #stopWanted = false;
  #resyncs = 0;
  /** The run that waits for a person. */
  #waits: string | null = null;
  /** Whom a conversation is begun with that begins with files. */
  #agent: string | null = null;
  #unwatch: (() => void) | null = null;
  #loading: Promise<void> | null = null;
  #beginning: Promise<string> | null = null;

  constructor(id: string | null, parts: ThreadParts) {
    super({ ...BLANK, phase: id === null ? 'ready' : 'loading' });
    this.#id = id;
    this.#parts = parts;
    this.draft = new Observable(parts.drafts.read(id));
    this.attachments = new Attachments({
      upload: async (file, ...how) => parts.api.upload(await this.#begun(file.name), file, ...how),
      remove: (fileId) => parts.api.removeFile(this.#id ?? '', fileId),
    });
    this.draft.subscribe(() => parts.drafts.write(this.#id, this.draft.get()));
  }

  get id(): string | null {
    return this.#id;
  }

  get busy(): boolean {
    return this.get().sending || this.get().runId !== null;
  }

  /** Reads the stored messages and takes up the active run, if there is one. Safe to call at any time. */
  load(): Promise<void> {
    this.#loading ??= this.#load().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  /** Puts files into the conversation, for the message that is being written; a new one begins with them. */
  attach(files: Iterable<File>, agent: string | null): void {
    this.#agent = agent;
    this.attachments.add(files);
  }

  /** Sends the draft; resolves to false when it was not accepted (the text is in the draft again). */
  async send(agent: string | null): Promise<boolean> {
    const { drafts, existed } = this.#parts;
    // The answer would otherwise stand without the messages before it.
    if (this.get().phase === 'loading') await this.load();
    const text = this.draft.get().trim();
    if (this.busy || text === '' || !this.attachments.ready) return false;
    const files = this.attachments.take();
    const named = files.map((file) => file.stored!);
    const asked = this.get().entries.filter((entry) => entry.role === 'user').length;
    const entry = sentEntry(`sent:${newRef()}`, text, named);
    const began = this.#id;
    drafts.markSending(began, text);
    this.draft.set('');
    this.patch({ sending: true, failure: null, entries: [...this.get().entries, entry] });
    const request: TurnRequest = began === null ? { message: text } : { conversation_id: began, message: text };
    if (agent !== null && began === null) request.agent = agent;
    if (named.length > 0) request.files = named.map((file) => file.id);
    try {
      const turn = await this.#start(request);
      const parentId = this.get().entries.at(-2)?.id ?? null;
      if (turn.messageId !== null) {
        this.#edit(entry.key, { id: turn.messageId, parentId, siblings: [turn.messageId] });
      }
      this.#begin(turn, this.get().entries, { parentId: turn.messageId, siblings: [] });
    } catch (error) {
      const failure = Failure.from(error);
      const arrived = await this.#recover(failure, { text, asked, existed });
      drafts.markSending(began, '');
      if (arrived) return true;
      this.patch({ entries: this.get().entries.filter((item) => item.key !== entry.key) });
      this.#giveBack(text);
      this.attachments.giveBack(files);
      this.#refuse(failure, () => this.send(agent));
      return false;
    }
    drafts.markSending(began, '');
    this.#edit(entry.key, { status: 'complete' });
    return true;
  }

  /** Writes the last answer again; the old one stays until the new run is accepted. */
  async retry(): Promise<void> {
    const { entries } = this.get();
    const last = entries.at(-1);
    const kept = last?.role === 'assistant' ? entries.slice(0, -1) : entries;
    const siblings = last?.role === 'assistant' ? last.siblings : [];
    await this.#branch({ retry: true }, () => this.retry(), (turn) => {
      this.#begin(turn, kept, { parentId: turn.messageId, siblings });
    });
  }

  /** Writes another answer beside this one. */
  async regenerate(entry: Entry): Promise<void> {
    if (entry.id === null) return this.retry();
    await this.#branch({ regenerate: entry.id }, () => this.regenerate(entry), (turn) => {
      this.#begin(turn, this.#until(entry), { parentId: entry.parentId, siblings: entry.siblings });
    });
  }

  /** Sends a message again with other words, beside it; false when it was not accepted. */
  async resend(entry: Entry, typed: string): Promise<boolean> {
    const message = typed.trim();
    if (entry.id === null || message === '') return false;
    const request: TurnRequest = { message, parent_message_id: entry.parentId };
    if (entry.files.length > 0) request.files = entry.files.map((file) => file.id);
    return this.#branch(request, null, (turn) => {
      const { messageId } = turn;
      const siblings = messageId === null ? null : [...(entry.siblings ?? []), messageId];
      const blank = sentEntry(`sent:${newRef()}`, message, entry.files);
      const sent: Entry = { ...blank, status: 'complete', parentId: entry.parentId };
      const kept = [...this.#until(entry), { ...sent, id: messageId, siblings }];
      this.#begin(turn, kept, { parentId: messageId, siblings: [] });
    });
  }

  /** Lets an answer that was stopped or cut go on. */
  async continue(entry: Entry): Promise<void> {
    if (entry.id === null) return;
    await this.#branch({ continue: entry.id }, () => this.continue(entry), (turn) => {
      this.#begin(turn, this.#until(entry), continuedEntry(entry, turn.runId));
    });
  }

  /** Shows the branch of a message beside one that is shown. */
  async show(messageId: string): Promise<void> {
    if (this.busy || this.#id === null) return;
    const turns = this.#turns;
    try {
      const page = await this.#parts.api.show(this.#id, messageId);
      if (turns === this.#turns) this.#adopt(page);
    } catch (error) {
      this.#refuse(Failure.from(error), () => this.show(messageId));
    }
  }

  /** Shows one of its messages, and the branch that it is in. */
  async find(messageId: string): Promise<void> {
    if (this.get().phase !== 'ready') await this.load();
    if (!this.get().entries.some((entry) => entry.id === messageId)) await this.show(messageId);
    this.patch({ wanted: messageId });
  }

  /** A turn that goes on elsewhere than at the end; what is shown stays until it is accepted. */
  async #branch(
    request: TurnRequest,
    again: (() => Promise<unknown>) | null,
    begin: (turn: TurnAccepted) => void,
  ): Promise<boolean> {
    if (this.busy || this.#id === null) return false;
    const text = request.message ?? null;
    this.patch({ sending: true, failure: null });
    try {
      begin(await this.#start({ conversation_id: this.#id, ...request }));
    } catch (error) {
      const failure = Failure.from(error);
      // A message that was sent again stands in the place of another: there are no more of them than before.
      const lost = { text, asked: text === null ? 0 : -1, existed: this.#parts.existed };
      if (!(await this.#recover(failure, lost))) {
        this.#refuse(failure, again);
        return false;
      }
    }
    return true;
  }

  #until(entry: Entry): readonly Entry[] {
    const { entries } = this.get();
    return entries.slice(0, entries.findIndex((item) => item.id === entry.id));
  }

  /** Says what the person thinks of an answer; what was said before is shown again where that fails. */
  async rate(entry: Entry, feedback: Feedback | null): Promise<boolean> {
    if (entry.id === null) return false;
    this.#edit(entry.key, { feedback });
    try {
      await this.#parts.api.rate(entry.id, feedback);
    } catch (error) {
      this.#edit(entry.key, { feedback: entry.feedback });
      const failure = Failure.from(error);
      this.patch({ failure, again: () => this.rate(entry, feedback) });
      this.#parts.events.failed(failure);
      return false;
    }
    return true;
  }

  async stop(): Promise<void> {
    const { runId, sending } = this.get();
    if (runId === null) {
      this.#stopWanted = sending;
      if (sending) this.patch({ stopping: true });
      return;
    }
    this.patch({ stopping: true });
    try {
      await this.#parts.runs.cancel(runId);
    } catch (error) {
      this.patch({ stopping: false, failure: Failure.from(error), again: () => this.stop() });
    }
  }

  dismiss(): void {
    this.patch({ failure: null });
  }

  rename(title: string): void {
    const { conversation } = this.get();
    if (conversation) this.patch({ conversation: { ...conversation, title } });
  }

  /** The run cannot be followed (its log is gone, or another process ended it): the stored messages say more. */
  async runLost(runId: string, failure: Failure): Promise<void> {
    if (this.get().runId !== runId) return;
    this.#resyncs += 1;
    this.#leaveRun();
    if (this.#resyncs > MOST_RESYNCS) {
      this.#edit(`run:${runId}`, { error: { code: failure.code, message: failure.message }, status: 'failed' });
      this.patch({ runId: null, stopping: false });
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 300 * 2 ** this.#resyncs));
    await this.load();
  }

  async #load(): Promise<void> {
    if (this.#id === null) return;
    const turns = this.#turns;
    try {
      const page = await this.#parts.api.messages(this.#id);
      if (turns === this.#turns) this.#adopt(page);
    } catch (error) {
      const failure = Failure.from(error);
      this.#readFailed = true;
      const phase = this.get().phase === 'ready' ? 'ready' : 'failed';
      this.patch({ failure, phase, again: () => this.load() });
      this.#parts.events.failed(failure);
    }
  }

  #adopt(page: MessagePage): void {
    const active = page.active_run?.id ?? null;
    const { runId, failure } = this.get();
    // An answer that ended between the server's reading and now is newer here than in the page.
    if (active !== null && this.#parts.runs.get(active)?.over) return;
    if (runId !== null && runId !== active) this.#leaveRun();
    const stored = page.messages
      .filter((message) => active === null || message.role === 'user' || message.run_id !== active)
      .map(storedEntry);
    const continued = page.active_run?.message_id ?? null;
    this.#checkSending(page);
    const readFailed = this.#readFailed;
    this.#readFailed = false;
    // Before the entry is drawn: it looks for its feed.
    if (active !== null) this.#watch(active);
    this.patch({
      phase: 'ready',
      conversation: page.conversation,
      entries: keepUnchanged(this.get().entries, active === null ? stored : withLive(stored, active, continued)),
      runId: active,
      stopping: active !== null && active === runId ? this.get().stopping : false,
      // What went wrong with a send stays said; that the messages could not be read is over.
      failure: readFailed ? null : failure,
    });
    if (active === null && runId !== null) {
      // The run ended while its last events were on their way.
      this.#parts.runs.drop(runId);
      this.#parts.events.ended(this, this.get().entries.at(-1)?.status ?? 'complete');
    }
  }

  /** A message that was on its way when the page was left: it arrived, or it goes back into the draft. */
  #checkSending(page: MessagePage): void {
    const { drafts } = this.#parts;
    const text = drafts.sending(this.#id);
    if (text === '') return;
    drafts.markSending(this.#id, '');
    const last = page.messages.findLast((message) => message.role === 'user');
    if (!sameText(last?.content, text)) this.#giveBack(text);
  }

  #giveBack(text: string): void {
    const typed = this.draft.get();
    this.draft.set(typed.trim() === '' ? text : `${text}\n\n${typed}`);
  }

  #start(request: TurnRequest): Promise<TurnAccepted> {
    this.#turns += 1;
    return this.#parts.runs.start(request);
  }

  /** `kept`: what is shown before the new answer; `place`: where that stands. */
  #begin(turn: TurnAccepted, kept: readonly Entry[], place: Partial<Entry>): void {
    this.#resyncs = 0;
    const conversation = this.#conversation(turn);
    const isNew = this.#id === null;
    this.#name(turn.conversation.id);
    this.#watch(turn.runId);
    this.patch({
      phase: 'ready',
      sending: false,
      conversation,
      entries: [...kept, liveEntry(turn.runId, place)],
      runId: turn.runId,
    });
    if (isNew) this.#parts.events.named(this, conversation);
    this.#parts.events.turned(conversation, turn.runId);
    if (this.#stopWanted) void this.stop();
    this.#stopWanted = false;
  }

  /** What is known of the conversation, with the turn as its newest activity. */
  #conversation(turn: TurnAccepted): Conversation {
    const now = new Date().toISOString();
    const blank = { title: '', agent: null, created_at: now, active_run_id: null };
    return { ...blank, ...this.get().conversation, ...turn.conversation, updated_at: now };
  }

  #watch(runId: string): void {
    this.#leaveRun();
    const feed = this.#parts.runs.follow(runId);
    const check = (): void => {
      const waits = feed.get().waitsFor > 0 ? runId : null;
      if (waits !== this.#waits) {
        this.#waits = waits;
        this.#parts.events.waits(this, waits !== null);
      }
      if (feed.over) this.#finish(feed);
    };
    this.#unwatch = feed.subscribe(check);
    check();
  }

  #finish(feed: RunFeed): void {
    feed.flush();
    const run = feed.get();
    this.#leaveRun();
    const live = this.get().entries.find((item) => item.key === `run:${run.runId}`);
    const entry = finishedEntry(run, live);
    this.#edit(entry.key, entry);
    this.patch({ runId: null, stopping: false });
    this.#parts.events.ended(this, entry.status);
    // What stands beside it, or what its earlier runs used, the server knows.
    if (live && (live.siblings === null || live.before !== '')) void this.load();
  }

  #edit(key: string, change: Partial<Entry>): void {
    const { entries } = this.get();
    this.patch({ entries: entries.map((entry) => (entry.key === key ? { ...entry, ...change } : entry)) });
  }

  /** The conversation's id; one that files come before any message begins with them, and is called like the first. */
  #begun(title: string): Promise<string> {
    if (this.#id !== null) return Promise.resolve(this.#id);
    this.#beginning ??= this.#parts.api
      .begin(this.#agent, title)
      .then((conversation) => {
        this.#name(conversation.id);
        this.patch({ conversation });
        this.#parts.events.named(this, conversation);
        return conversation.id;
      })
      .finally(() => {
        this.#beginning = null;
      });
    return this.#beginning;
  }

  /** A new conversation has got its id; what was typed meanwhile moves along. */
  #name(id: string): void {
    if (this.#id === null) this.#parts.drafts.write(null, '');
    this.#id = id;
    this.#parts.drafts.write(id, this.draft.get());
  }

  #leaveRun(): void {
    this.#unwatch?.();
    this.#unwatch = null;
  }

  #refuse(failure: Failure, again: (() => Promise<unknown>) | null): void {
    this.#stopWanted = false;
    this.#readFailed = false;
    this.patch({ sending: false, stopping: false, failure, again });
    this.#parts.events.failed(failure);
    // Another tab's turn: show it.
    if (failure.code === 'run_in_progress') void this.load();
  }

  /** The answer to a send was lost: the server may have taken it all the same, and it must not be sent twice. */
  async #recover(failure: Failure, lost: LostTurn): Promise<boolean> {
    if (!['connection_lost', 'timeout', 'network'].includes(failure.code)) return false;
    if (failure.code === 'network' && !navigator.onLine) return false;
    const page = await findLostTurn(this.#parts.api, this.#id, lost, failure.code === 'network');
    if (!page) return false;
    const isNew = this.#id === null;
    this.#name(page.conversation.id);
    this.#stopWanted = false;
    this.patch({ sending: false });
    this.#adopt(page);
    if (isNew) this.#parts.events.named(this, page.conversation);
    if (page.active_run) this.#parts.events.turned(page.conversation, page.active_run.id);
    return true;
  }
}

/** The stored messages with the answer that is being written: the last one, or the one that it continues. */
function withLive(stored: Entry[], runId: string, continued: string | null): Entry[] {
  if (continued !== null && stored.some((entry) => entry.id === continued)) {
    return stored.map((entry) => (entry.id === continued ? continuedEntry(entry, runId) : entry));
  }
  return [...stored, liveEntry(runId, { parentId: stored.at(-1)?.id ?? null })];
}
