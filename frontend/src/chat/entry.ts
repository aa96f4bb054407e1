import type { Feedback, NamedFile, StoredMessage, TraceCount, Usage } from '../api/contract';
import type { RunState } from '../run/reducer';

/**
 * One message as the page lists it. `live` is the answer of the active run: its text is in the run's feed,
 * not here, so that the list stays the same object while tokens arrive.
 */
export interface Entry {
  /** Stays the same from the first token to the stored message, so that React keeps the element. */
  key: string;
  /** Of the stored message; null while it is not stored yet. */
  id: string | null;
  parentId: string | null;
  /** Itself and the messages beside it; null: not known yet. A live answer's are those before it. */
  siblings: readonly string[] | null;
  role: 'user' | 'assistant';
  content: string;
  /** What a live answer said before it was continued. */
  before: string;
  reasoning: string;
  status: 'sending' | 'live' | 'complete' | 'stopped' | 'failed';
  error: { code: string; message: string } | null;
  runId: string | null;
  finishReason: string | null;
  createdAt: string | null;
  usage: Usage | null;
  /** What the person said of this answer. */
  feedback: Feedback | null;
  /** Its runs that left a trace of their steps, in order. */
  traces: readonly TraceCount[];
  /** What the person's message came with. */
  files: readonly NamedFile[];
}

export function storedEntry(message: StoredMessage): Entry {
  const answer = message.role === 'assistant';
  return {
    key: answer && message.run_id ? `run:${message.run_id}` : message.id,
    id: message.id,
    parentId: message.parent_id,
    siblings: message.siblings,
    role: message.role,
    content: message.content,
    before: '',
    reasoning: message.reasoning ?? '',
    status: message.status,
    error: message.error,
    runId: message.run_id,
    finishReason: message.finish_reason,
    createdAt: message.created_at,
    usage: message.usage,
    feedback: message.feedback ?? null,
    traces: message.traces ?? [],
    files: message.files ?? [],
  };
}

export function sentEntry(key: string, content: string, files: readonly NamedFile[] = []): Entry {
  return {
    key,
    id: null,
    parentId: null,
    siblings: null,
    role: 'user',
    content,
    before: '',
    reasoning: '',
    status: 'sending',
    error: null,
    runId: null,
    finishReason: null,
    createdAt: new Date().toISOString(),
    usage: null,
    feedback: null,
    traces: [],
    files,
  };
}

/** The answer that `runId` writes; `place`: where it stands, as far as that is known. */
export function liveEntry(runId: string, place: Partial<Entry> = {}): Entry {
  return {
    key: `run:${runId}`,
    id: null,
    parentId: null,
    siblings: null,
    role: 'assistant',
    content: '',
    before: '',
    reasoning: '',
    status: 'live',
    error: null,
    runId,
    finishReason: null,
    createdAt: null,
    usage: null,
    feedback: null,
    traces: [],
    files: [],
    ...place,
  };
}

/** A stored answer while `runId` continues it. */
export function continuedEntry(entry: Entry, runId: string): Entry {
  const { id, parentId, siblings, reasoning, traces } = entry;
  return liveEntry(runId, { id, parentId, siblings, before: entry.content, reasoning, traces });
}

/** Whether an answer can go on where it stopped. It must be the last one shown. */
export function canContinue(entry: Entry): boolean {
  if (entry.role !== 'assistant' || entry.id === null || entry.content === '') return false;
  return entry.status === 'stopped' || entry.status === 'failed' || entry.finishReason === 'length';
}

/** The answer of a run that is over, as it will also come from the server on the next load. */
export function finishedEntry(run: RunState, live: Entry = liveEntry(run.runId)): Entry {
  const id = run.messageId ?? live.id;
  const beside = live.siblings ?? [];
  const trace = { run_id: run.runId, tools: run.tools.length, members: run.members.length };
  return {
    ...live,
    id,
    siblings: id === null || beside.includes(id) ? beside : [...beside, id],
    content: run.messageId === null ? live.before + run.text : run.text,
    before: '',
    reasoning: live.reasoning + run.reasoning,
    finishReason: run.finishReason,
    status: run.status === 'failed' ? 'failed' : run.status === 'cancelled' ? 'stopped' : 'complete',
    error: run.failure ? { code: run.failure.code, message: run.failure.message } : null,
    createdAt: new Date().toISOString(),
    usage: run.usage,
    traces: trace.tools + trace.members > 0 ? [...live.traces, trace] : live.traces,
  };
}

/** Entries that say the same as before keep their identity, so that a silent reload renders nothing again. */
export function keepUnchanged(before: readonly Entry[], entries: Entry[]): Entry[] {
  const known = new Map(before.map((entry) => [entry.key, entry]));
  return entries.map((entry) => {
    const old = known.get(entry.key);
    const same = old && old.content === entry.content && old.status === entry.status && !old.error === !entry.error;
    const placed = old?.id === entry.id && String(old?.siblings) === String(entry.siblings);
    const said = old?.feedback?.rating === entry.feedback?.rating && old?.feedback?.comment === entry.feedback?.comment;
    return same && placed && said ? old : entry;
  });
}
