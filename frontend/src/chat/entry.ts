import type { StoredMessage, Usage } from '../api/contract';
import type { RunState } from '../run/reducer';

/**
 * One message as the page lists it. `live` is the answer of the active run: its text is in the run's feed,
 * not here, so that the list stays the same object while tokens arrive.
 */
export interface Entry {
  /** Stays the same from the first token to the stored message, so that React keeps the element. */
  key: string;
  role: 'user' | 'assistant';
  content: string;
  reasoning: string;
  status: 'sending' | 'live' | 'complete' | 'stopped' | 'failed';
  error: { code: string; message: string } | null;
  runId: string | null;
  createdAt: string | null;
  usage: Usage | null;
}

export function storedEntry(message: StoredMessage): Entry {
  const answer = message.role === 'assistant';
  return {
    key: answer && message.run_id ? `run:${message.run_id}` : message.id,
    role: message.role,
    content: message.content,
    reasoning: message.reasoning ?? '',
    status: message.status,
    error: message.error,
    runId: message.run_id,
    createdAt: message.created_at,
    usage: message.usage,
  };
}

export function sentEntry(key: string, content: string): Entry {
  return {
    key,
    role: 'user',
    content,
    reasoning: '',
    status: 'sending',
    error: null,
    runId: null,
    createdAt: new Date().toISOString(),
    usage: null,
  };
}

export function liveEntry(runId: string): Entry {
  return {
    key: `run:${runId}`,
    role: 'assistant',
    content: '',
    reasoning: '',
    status: 'live',
    error: null,
    runId,
    createdAt: null,
    usage: null,
  };
}

/** The answer of a run that is over, as it will also come from the server on the next load. */
export function finishedEntry(run: RunState): Entry {
  return {
    ...liveEntry(run.runId),
    content: run.text,
    reasoning: run.reasoning,
    status: run.status === 'failed' ? 'failed' : run.status === 'cancelled' ? 'stopped' : 'complete',
    error: run.failure ? { code: run.failure.code, message: run.failure.message } : null,
    createdAt: new Date().toISOString(),
    usage: run.usage,
  };
}
