import type {
  Agent,
  ApprovalView,
  Conversation,
  ConversationPage,
  Decision,
  Feedback,
  FoundConversation,
  MessagePage,
  RunCreated,
  Source,
  StoredFile,
  Trace,
  TurnRequest,
} from './contract';
import { Failure } from './failure';
import { upload } from './upload';

const TIMEOUT_MS = 30_000;

/** The value of a cookie, or '' when there is none. */
export function cookie(name: string): string {
  for (const part of document.cookie.split('; ')) {
    if (part.startsWith(`${name}=`)) return decodeURIComponent(part.slice(name.length + 1));
  }
  return '';
}

/** The token that proves that a request comes from this page; behind TLS its cookie has a name that no other host may set. */
export const csrfToken = (): string => cookie('__Host-csrftoken') || cookie('csrftoken');

/** The tenant's native API over fetch: the session is the cookie, CSRF is a header, errors are Failures. */
export class Api {
  readonly #fetch: typeof fetch;

  constructor(fetcher: typeof fetch = (...args) => fetch(...args)) {
    this.#fetch = fetcher;
  }

  me = (): Promise<unknown> => this.#call('GET', '/api/v1/me');

  async agents(): Promise<Agent[]> {
    const body = await this.#call<{ agents: Agent[] }>('GET', '/api/v1/agents');
    return body.agents;
  }

  conversations(cursor: string | null = null, limit = 30): Promise<ConversationPage> {
    const query = new URLSearchParams({ limit: String(limit) });
    if (cursor) query.set('cursor', cursor);
    return this.#call('GET', `/api/v1/conversations?${query}`);
  }

  /** All that are pinned; there are not many. */
  pinned = (): Promise<ConversationPage> => this.#call('GET', '/api/v1/conversations?pinned=true&limit=100');

  /** Those whose title or messages say `text`. */
  async find(text: string): Promise<FoundConversation[]> {
    const query = new URLSearchParams({ q: text });
    const body = await this.#call<{ conversations: FoundConversation[] }>('GET', `/api/v1/conversations?${query}`);
    return body.conversations;
  }

  edit = (id: string, change: { title?: string; pinned?: boolean }): Promise<Conversation> =>
    this.#call('PATCH', `/api/v1/conversations/${encodeURIComponent(id)}`, change);

  remove = (id: string): Promise<unknown> =>
    this.#call('DELETE', `/api/v1/conversations/${encodeURIComponent(id)}`);

  restore = (id: string): Promise<unknown> =>
    this.#call('POST', `/api/v1/conversations/${encodeURIComponent(id)}/restore`);

  messages = (id: string): Promise<MessagePage> =>
    this.#call('GET', `/api/v1/conversations/${encodeURIComponent(id)}/messages`);

  /** Begins a conversation in which nothing is said yet, so that files can be put into it. */
  begin = (agent: string | null, title: string): Promise<Conversation> =>
    this.#call('POST', '/api/v1/conversations', { agent: agent ?? '', title });

  /** Puts a file into a conversation; `onProgress` hears how much of it (0 to 1) has been sent. */
  async upload(
    id: string,
    file: File,
    onProgress: (progress: number) => void,
    signal: AbortSignal,
  ): Promise<StoredFile> {
    const path = `/api/v1/conversations/${encodeURIComponent(id)}/files`;
    const { files } = await upload<{ files: [StoredFile] }>(path, file, onProgress, signal);
    return files[0];
  }

  removeFile = (id: string, fileId: string): Promise<unknown> =>
    this.#call('DELETE', `/api/v1/conversations/${encodeURIComponent(id)}/files/${encodeURIComponent(fileId)}`);

  /** Shows the branch of a message; answers with what is shown then. */
  show = (id: string, messageId: string): Promise<MessagePage> =>
    this.#call('POST', `/api/v1/conversations/${encodeURIComponent(id)}/active`, { message_id: messageId });

  /** Says what the person thinks of an answer; null takes it back. */
  rate = (messageId: string, feedback: Feedback | null): Promise<unknown> => {
    const path = `/api/v1/messages/${encodeURIComponent(messageId)}/feedback`;
    return feedback === null ? this.#call('DELETE', path) : this.#call('PUT', path, feedback);
  };

  /** What a run did, step by step. */
  trace = (runId: string): Promise<Trace> => this.#call('GET', `/api/v1/runs/${encodeURIComponent(runId)}/trace`);

  /** The passages that a run was shown. */
  async sources(runId: string): Promise<Source[]> {
    const path = `/api/v1/runs/${encodeURIComponent(runId)}/sources`;
    return (await this.#call<{ sources: Source[] }>('GET', path)).sources;
  }

  approval = (id: string): Promise<ApprovalView> => this.#call('GET', `/api/v1/approvals/${encodeURIComponent(id)}`);

  /** Decides on a call of a tool that waits; the same again is the same answer. */
  decide = (id: string, decision: Decision): Promise<ApprovalView> =>
    this.#call('POST', `/api/v1/approvals/${encodeURIComponent(id)}`, decision);

  startRun = (request: TurnRequest): Promise<RunCreated> => this.#call('POST', '/api/v1/runs', request);

  cancelRun = (runId: string): Promise<unknown> =>
    this.#call('POST', `/api/v1/runs/${encodeURIComponent(runId)}/cancel`);

  /** Opens the event stream of a run after `afterSeq`; the answer's body is server-sent events. */
  async events(runId: string, afterSeq: number, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (afterSeq > 0) headers['Last-Event-ID'] = String(afterSeq);
    const url = `/api/v1/runs/${encodeURIComponent(runId)}/events?after_seq=${afterSeq}`;
    const response = await this.#fetch(url, { headers, signal, credentials: 'same-origin' });
    if (!response.ok) throw await failureOf(response);
    return response;
  }

  /** Remembers the language for the server's own pages too (Django's set_language view). */
  async setLanguage(language: string): Promise<void> {
    const response = await this.#fetch('/i18n/setlang/', {
      method: 'POST',
      headers: {
        'Content-Type': 'application/x-www-form-urlencoded',
        'X-CSRFToken': csrfToken(),
      },
      body: new URLSearchParams({ language, next: location.pathname }).toString(),
      credentials: 'same-origin',
      // The view answers with a redirect to `next`; the cookie is set, the page itself is not needed.
      redirect: 'manual',
    });
    if (!response.ok && response.type !== 'opaqueredirect') throw await failureOf(response);
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers: Record<string, string> = { Accept: 'application/json' };
    if (method !== 'GET') headers['X-CSRFToken'] = csrfToken();
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    let response: Response;
    try {
      response = await this.#fetch(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: 'same-origin',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch (error) {
      throw Failure.from(error);
    }
    if (!response.ok) throw await failureOf(response);
    if (response.status === 204) return undefined as T;
    try {
      return (await response.json()) as T;
    } catch (error) {
      throw new Failure('internal_error', { status: response.status, message: String(error) });
    }
  }
}

/** Reads the platform's error body; an answer of something in between (a proxy) is named by its status. */
export async function failureOf(response: Response): Promise<Failure> {
  const retryAfter = Number(response.headers.get('Retry-After') ?? Number.NaN);
  const parts = { status: response.status, retryAfter: Number.isFinite(retryAfter) ? retryAfter : null };
  let error: Record<string, unknown> | undefined;
  try {
    error = ((await response.json()) as { error?: Record<string, unknown> }).error;
  } catch {
    error = undefined;
  }
  if (error === undefined || typeof error.code !== 'string') {
    return new Failure(codeOfStatus(response.status), parts);
  }
  return new Failure(error.code, {
    ...parts,
    message: typeof error.message === 'string' ? error.message : '',
    requestId: typeof error.request_id === 'string' ? error.request_id : null,
    details: (error.details as Record<string, unknown> | null) ?? {},
  });
}

function codeOfStatus(status: number): string {
  if (status === 401) return 'not_authenticated';
  if (status === 403) return 'permission_denied';
  if (status === 404) return 'not_found';
  if (status === 413) return 'request_too_large';
  if (status === 429) return 'rate_limited';
  if (status === 502 || status === 503 || status === 504) return 'network';
  return 'internal_error';
}
