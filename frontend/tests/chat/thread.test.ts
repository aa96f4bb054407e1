import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Api } from '../../src/api/client';
import type { MessagePage, TurnAccepted } from '../../src/api/contract';
import { Failure } from '../../src/api/failure';
import { canContinue } from '../../src/chat/entry';
import { Drafts } from '../../src/chat/drafts';
import { Thread } from '../../src/chat/thread';
import { RunFeed } from '../../src/run/feed';
import type { Runs } from '../../src/run/runs';
import type { RunEvent } from '../../src/protocol.gen';
import { completed, event, RUN, sealed, started, text, USAGE } from '../events';

const CONVERSATION = {
  id: 'c1',
  title: 'A talk',
  agent: { slug: 'a', name: 'A' },
  created_at: '2025-01-01T00:00:00Z',
  updated_at: '2025-01-01T00:00:00Z',
  active_run_id: null,
};

function stored(role: 'user' | 'assistant', content: string, more = {}): MessagePage['messages'][number] {
  return {
    id: `${role}-${content}`, parent_id: null, siblings: [`${role}-${content}`], role, content, reasoning: '',
    status: 'complete', error: null, run_id: 'old', finish_reason: null, created_at: '2025-01-01T00:00:00Z',
    usage: null, ...more,
  };
}

function page(messages: MessagePage['messages'], activeRun: string | null = null): MessagePage {
  const active = activeRun === null ? null : { id: activeRun, last_seq: 3, status: 'running', message_id: null };
  return { conversation: CONVERSATION, messages, active_run: active };
}

function make(id: string | null, first: MessagePage = page([])) {
  const feeds = new Map<string, RunFeed>();
  const follow = vi.fn((runId: string) => {
    const feed = feeds.get(runId) ?? new RunFeed(runId, (callback) => callback(), () => {});
    feeds.set(runId, feed);
    return feed;
  });
  const runs = {
    start: vi.fn<(request: object) => Promise<TurnAccepted>>(),
    cancel: vi.fn(async () => {}),
    get: (runId: string) => feeds.get(runId),
    drop: vi.fn(),
    follow,
  };
  const api = {
    messages: vi.fn(async () => first),
    show: vi.fn<(id: string, messageId: string) => Promise<MessagePage>>(),
    rate: vi.fn(async () => {}),
    conversations: vi.fn(async () => ({ conversations: [CONVERSATION], next_cursor: null })),
  };
  const events = { named: vi.fn(), turned: vi.fn(), waits: vi.fn(), ended: vi.fn(), failed: vi.fn() };
  const drafts = new Drafts(sessionStorage, 'acme:owner');
  const thread = new Thread(id, {
    api: api as unknown as Api, runs: runs as unknown as Runs, drafts, events, existed: () => false,
  });
  const push = (...all: RunEvent[]): void => all.forEach((one) => feeds.get(one.run_id)?.push(one));
  const shown = () => thread.get().entries.map((entry) => `${entry.role}:${entry.status}:${entry.content}`);
  return { thread, runs, api, events, drafts, push, shown };
}

const accepted = (runId = RUN, conversation: TurnAccepted['conversation'] = CONVERSATION): TurnAccepted => ({
  runId, conversation, messageId: 'm1',
});

async function asked(parts: ReturnType<typeof make>, message = 'hello'): Promise<boolean> {
  parts.thread.draft.set(message);
  return parts.thread.send('a');
}

beforeEach(() => {
  sessionStorage.clear();
  vi.useRealTimers();
});

describe('a turn', () => {
  it('shows the message at once, streams, and ends as a stored answer would look', async () => {
    const parts = make(null);
    parts.runs.start.mockResolvedValue(accepted());
    const sending = asked(parts);
    expect(parts.shown()).toEqual(['user:sending:hello']);
    expect(parts.thread.draft.get()).toBe('');
    expect(await sending).toBe(true);
    expect(parts.shown()).toEqual(['user:complete:hello', 'assistant:live:']);
    expect(parts.events.named).toHaveBeenCalledWith(parts.thread, expect.objectContaining({ id: 'c1' }));
    const list = parts.thread.get().entries;
    parts.push(started(), text(2, 'Hi'));
    expect(parts.thread.get().entries).toBe(list);
    parts.push(sealed(3, 'Hi!'), completed(4));
    expect(parts.shown()).toEqual(['user:complete:hello', 'assistant:complete:Hi!']);
    expect(parts.thread.busy).toBe(false);
    expect(parts.events.ended).toHaveBeenCalledWith(parts.thread, 'complete');
  });

  it('sends the agent for a new conversation only', async () => {
    const fresh = make(null);
    fresh.runs.start.mockResolvedValue(accepted());
    await asked(fresh);
    expect(fresh.runs.start).toHaveBeenCalledWith({ message: 'hello', agent: 'a' });
    const known = make('c1');
    known.runs.start.mockResolvedValue(accepted(RUN, { id: 'c1' }));
    await asked(known);
    expect(known.runs.start).toHaveBeenCalledWith({ message: 'hello', conversation_id: 'c1' });
    // The server names a known conversation by its id only.
    expect(known.thread.get().conversation).toMatchObject({ title: 'A talk', agent: { slug: 'a' } });
  });

  it('ends failed with its code, and a retry takes the place of the failed answer', async () => {
    const parts = make('c1');
    parts.runs.start.mockResolvedValue(accepted());
    await asked(parts);
    parts.push(started(), text(2, 'half'), event(3, 'run.failed', { code: 'provider_timeout', message: 'm', retryable: true, usage: USAGE }));
    expect(parts.shown()).toEqual(['user:complete:hello', 'assistant:failed:half']);
    expect(parts.thread.get().entries[1]?.error?.code).toBe('provider_timeout');
    parts.runs.start.mockResolvedValue(accepted('r2'));
    await parts.thread.retry();
    expect(parts.runs.start).toHaveBeenLastCalledWith({ conversation_id: 'c1', retry: true });
    expect(parts.shown()).toEqual(['user:complete:hello', 'assistant:live:']);
  });

  it('keeps the old answer when a retry is refused', async () => {
    const parts = make('c1', page([stored('user', 'q'), stored('assistant', 'old')]));
    await parts.thread.load();
    parts.runs.start.mockRejectedValue(new Failure('quota_exceeded'));
    await parts.thread.retry();
    expect(parts.shown()).toEqual(['user:complete:q', 'assistant:complete:old']);
    expect(parts.thread.get().failure?.code).toBe('quota_exceeded');
  });

  it('stops a run, also when the stop was pressed before it was accepted', async () => {
    const parts = make('c1');
    let accept!: (turn: TurnAccepted) => void;
    parts.runs.start.mockReturnValue(new Promise((resolve) => (accept = resolve)));
    const sending = asked(parts);
    await vi.waitFor(() => expect(parts.thread.busy).toBe(true));
    await parts.thread.stop();
    expect(parts.runs.cancel).not.toHaveBeenCalled();
    accept(accepted());
    await sending;
    expect(parts.runs.cancel).toHaveBeenCalledWith(RUN);
    parts.push(started(), event(2, 'run.cancelled', { usage: USAGE }));
    expect(parts.shown().at(-1)).toBe('assistant:stopped:');
    expect(parts.thread.get().stopping).toBe(false);
  });

  it('does not send twice at once, nor nothing', async () => {
    const parts = make(null);
    parts.runs.start.mockReturnValue(new Promise(() => {}));
    expect(await asked(parts, '   ')).toBe(false);
    void asked(parts);
    await Promise.resolve();
    expect(await asked(parts, 'again')).toBe(false);
    expect(parts.runs.start).toHaveBeenCalledTimes(1);
    expect(parts.thread.draft.get()).toBe('again');
  });
});

describe('a refused message', () => {
  it('goes back into the draft, before what was typed since', async () => {
    const parts = make(null);
    let refuse!: (failure: Failure) => void;
    parts.runs.start.mockReturnValue(new Promise((_, reject) => (refuse = reject)));
    const sending = asked(parts);
    await Promise.resolve();
    parts.thread.draft.set('more');
    refuse(new Failure('quota_exceeded'));
    expect(await sending).toBe(false);
    expect(parts.thread.draft.get()).toBe('hello\n\nmore');
    expect(parts.drafts.read(null)).toBe('hello\n\nmore');
    expect(parts.drafts.sending(null)).toBe('');
    expect(parts.shown()).toEqual([]);
  });

  it('shows another tab’s turn when that is the reason', async () => {
    const parts = make('c1', page([stored('user', 'theirs')]));
    await parts.thread.load();
    parts.api.messages.mockResolvedValue(page([stored('user', 'theirs')], 'other'));
    parts.runs.start.mockRejectedValue(new Failure('run_in_progress'));
    await asked(parts);
    await vi.waitFor(() => expect(parts.thread.get().runId).toBe('other'));
    expect(parts.thread.get().failure?.code).toBe('run_in_progress');
    expect(parts.thread.draft.get()).toBe('hello');
  });
});

describe('a lost acceptance', () => {
  it('is found on the server and not sent again', async () => {
    vi.useFakeTimers();
    const parts = make('c1', page([stored('user', 'q'), stored('assistant', 'a')]));
    await parts.thread.load();
    parts.api.messages.mockResolvedValue(page([stored('user', 'q'), stored('assistant', 'a'), stored('user', 'hello')], RUN));
    parts.runs.start.mockRejectedValue(new Failure('connection_lost'));
    const sending = asked(parts);
    await vi.advanceTimersByTimeAsync(500);
    expect(await sending).toBe(true);
    expect(parts.shown().slice(2)).toEqual(['user:complete:hello', 'assistant:live:']);
    expect(parts.thread.draft.get()).toBe('');
  });

  it('that the server never had goes back into the draft', async () => {
    vi.useFakeTimers();
    const parts = make('c1', page([stored('user', 'hello'), stored('assistant', 'a')]));
    await parts.thread.load();
    parts.runs.start.mockRejectedValue(new Failure('connection_lost'));
    // The same words as the last message: still one message too few.
    const sending = asked(parts);
    await vi.advanceTimersByTimeAsync(500);
    expect(await sending).toBe(false);
    expect(parts.thread.draft.get()).toBe('hello');
  });

  it('of a new conversation is found among the newest', async () => {
    vi.useFakeTimers();
    const parts = make(null, page([stored('user', 'hello')], RUN));
    parts.runs.start.mockRejectedValue(new Failure('timeout'));
    const sending = asked(parts);
    await vi.advanceTimersByTimeAsync(500);
    expect(await sending).toBe(true);
    expect(parts.thread.id).toBe('c1');
    expect(parts.events.named).toHaveBeenCalled();
  });
});

describe('opening a conversation', () => {
  it('takes up the active run from its first event', async () => {
    // A stored part of the answer is left out: the events have all of it.
    const parts = make('c1', page([stored('user', 'q'), stored('assistant', 'par', { run_id: RUN })], RUN));
    await parts.thread.load();
    expect(parts.runs.follow).toHaveBeenCalledWith(RUN);
    expect(parts.shown()).toEqual(['user:complete:q', 'assistant:live:']);
    parts.push(started(), text(2, 'partial'), sealed(3, 'partial'), completed(4));
    expect(parts.shown()).toEqual(['user:complete:q', 'assistant:complete:partial']);
  });

  it('gives back a message that was on its way and never arrived, and forgets one that did', async () => {
    const before = make('c1');
    before.drafts.markSending('c1', 'lost words');
    const parts = make('c1', page([stored('user', 'q')]));
    await parts.thread.load();
    expect(parts.thread.draft.get()).toBe('lost words');
    parts.thread.draft.set('');
    parts.drafts.markSending('c1', 'q');
    await parts.thread.load();
    expect(parts.thread.draft.get()).toBe('');
    expect(parts.drafts.sending('c1')).toBe('');
  });

  it('keeps entries that did not change, so that nothing is drawn again', async () => {
    const parts = make('c1', page([stored('user', 'q'), stored('assistant', 'a')]));
    await parts.thread.load();
    const before = parts.thread.get().entries;
    await parts.thread.load();
    expect(parts.thread.get().entries.map((entry, index) => entry === before[index])).toEqual([true, true]);
  });

  it('does not use a reading that is older than the turn begun meanwhile', async () => {
    const parts = make('c1', page([stored('user', 'q')]));
    await parts.thread.load();
    let answer!: (page: MessagePage) => void;
    parts.api.messages.mockReturnValue(new Promise((resolve) => (answer = resolve)));
    const loading = parts.thread.load();
    parts.runs.start.mockResolvedValue(accepted());
    await asked(parts);
    answer(page([stored('user', 'q')]));
    await loading;
    expect(parts.shown()).toEqual(['user:complete:q', 'user:complete:hello', 'assistant:live:']);
  });

  it('shows what was stored when the run can no longer be followed', async () => {
    vi.useFakeTimers();
    const parts = make('c1', page([stored('user', 'q')], RUN));
    await parts.thread.load();
    parts.api.messages.mockResolvedValue(page([stored('user', 'q'), stored('assistant', 'whole', { run_id: RUN })]));
    const lost = parts.thread.runLost(RUN, new Failure('stream_gone'));
    await vi.advanceTimersByTimeAsync(1000);
    await lost;
    expect(parts.shown()).toEqual(['user:complete:q', 'assistant:complete:whole']);
    expect(parts.thread.busy).toBe(false);
    expect(parts.events.ended).toHaveBeenCalled();
  });

  it('says that it failed, and recovers', async () => {
    const parts = make('c1', page([stored('user', 'q')]));
    parts.api.messages.mockRejectedValueOnce(new Failure('network'));
    await parts.thread.load();
    expect(parts.thread.get()).toMatchObject({ phase: 'failed', failure: { code: 'network' } });
    await parts.thread.get().again?.();
    expect(parts.thread.get()).toMatchObject({ phase: 'ready', failure: null });
  });
});

describe('branches', () => {
  const talk = (): MessagePage => page([
    stored('user', 'q'), stored('assistant', 'a', { parent_id: 'user-q', status: 'stopped', run_id: 'r0' }),
    stored('user', 'q2', { parent_id: 'assistant-a' }),
    stored('assistant', 'b', { parent_id: 'user-q2', finish_reason: 'length' }),
  ]);
  const open = async (): Promise<ReturnType<typeof make>> => {
    const parts = make('c1', talk());
    await parts.thread.load();
    parts.runs.start.mockResolvedValue(accepted(RUN, { id: 'c1' }));
    return parts;
  };
  const entry = (parts: ReturnType<typeof make>, index: number) => parts.thread.get().entries[index]!;

  it('writes another answer beside any of them', async () => {
    const parts = await open();
    await parts.thread.regenerate(entry(parts, 1));
    expect(parts.runs.start).toHaveBeenCalledWith({ conversation_id: 'c1', regenerate: 'assistant-a' });
    expect(parts.shown()).toEqual(['user:complete:q', 'assistant:live:']);
    parts.push(started(), text(2, 'new'), sealed(3, 'new'), completed(4));
    expect(entry(parts, 1).siblings).toEqual(['assistant-a', entry(parts, 1).id]);
    expect(parts.api.messages).toHaveBeenCalledTimes(1);
  });

  it('sends a message again beside the old one, and keeps all when that is refused', async () => {
    const parts = await open();
    parts.runs.start.mockRejectedValueOnce(new Failure('quota_exceeded'));
    expect(await parts.thread.resend(entry(parts, 2), 'other')).toBe(false);
    expect(parts.shown()).toHaveLength(4);
    expect(await parts.thread.resend(entry(parts, 2), ' other ')).toBe(true);
    expect(parts.runs.start).toHaveBeenLastCalledWith({
      conversation_id: 'c1', message: 'other', parent_message_id: 'assistant-a',
    });
    expect(parts.shown().slice(2)).toEqual(['user:complete:other', 'assistant:live:']);
    expect(entry(parts, 2)).toMatchObject({ id: 'm1', siblings: ['user-q2', 'm1'] });
  });

  it('lets a cut answer go on in its place', async () => {
    const parts = await open();
    expect(entry(parts, 3)).toSatisfy(canContinue);
    await parts.thread.continue(entry(parts, 3));
    expect(parts.runs.start).toHaveBeenCalledWith({ conversation_id: 'c1', continue: 'assistant-b' });
    expect(entry(parts, 3)).toMatchObject({ status: 'live', before: 'b', id: 'assistant-b' });
    parts.push(started(), text(2, 'c'), sealed(3, 'bc'), completed(4));
    expect(parts.shown()[3]).toBe('assistant:complete:bc');
    // What both runs used, the server adds up.
    expect(parts.api.messages).toHaveBeenCalledTimes(2);
  });

  it('takes up a continuation that runs', async () => {
    const running = talk();
    running.active_run = { id: RUN, last_seq: 1, status: 'running', message_id: 'assistant-b' };
    const parts = make('c1', running);
    await parts.thread.load();
    expect(parts.shown().slice(2)).toEqual(['user:complete:q2', 'assistant:live:']);
    expect(entry(parts, 3).before).toBe('b');
  });

  it('shows another branch', async () => {
    const parts = await open();
    parts.api.show.mockResolvedValue(page([stored('user', 'other')]));
    await parts.thread.show('user-other');
    expect(parts.shown()).toEqual(['user:complete:other']);
    parts.api.show.mockRejectedValue(new Failure('run_in_progress'));
    await parts.thread.show('user-q');
    expect(parts.thread.get().failure?.code).toBe('run_in_progress');
  });
});

describe('feedback', () => {
  it('is shown at once, and what was said before comes back where it is refused', async () => {
    const first = page([stored('user', 'q'), stored('assistant', 'a', { feedback: { rating: 'up', comment: 'x' } })]);
    const parts = make('c1', first);
    await parts.thread.load();
    const entry = () => parts.thread.get().entries[1]!;
    expect(entry().feedback).toEqual({ rating: 'up', comment: 'x' });
    const done = parts.thread.rate(entry(), null);
    expect(entry().feedback).toBeNull();
    expect(await done).toBe(true);
    expect(parts.api.rate).toHaveBeenCalledWith('assistant-a', null);
    parts.api.rate.mockRejectedValueOnce(new Failure('network'));
    expect(await parts.thread.rate(entry(), { rating: 'down', comment: '' })).toBe(false);
    expect(entry().feedback).toBeNull();
    expect(parts.thread.get().failure?.code).toBe('network');
    // Another tab said something else meanwhile.
    first.messages[1]!.feedback = { rating: 'down', comment: 'y' };
    await parts.thread.load();
    expect(entry().feedback).toEqual({ rating: 'down', comment: 'y' });
  });
});
