interface FailureParts {
  message?: string;
  status?: number;
  retryAfter?: number | null;
  requestId?: string | null;
  details?: Record<string, unknown>;
}

/**
 * Something that went wrong, by its stable code: one of the platform's own, or one of the page's:
 * `network` (no answer came), `timeout`, `connection_lost` (the socket went before the answer to a send).
 */
export class Failure extends Error {
  readonly code: string;
  readonly status: number;
  /** Seconds after which a repeat makes sense, as the server said. */
  readonly retryAfter: number | null;
  readonly requestId: string | null;
  readonly details: Record<string, unknown>;
  /** When it happened (ms since the epoch): the count-down to `retryAfter` starts here. */
  readonly at = Date.now();

  constructor(code: string, parts: FailureParts = {}) {
    super(parts.message ?? '');
    this.name = 'Failure';
    this.code = code;
    this.status = parts.status ?? 0;
    this.retryAfter = parts.retryAfter ?? null;
    this.requestId = parts.requestId ?? null;
    this.details = parts.details ?? {};
  }

  static from(error: unknown): Failure {
    if (error instanceof Failure) return error;
    if (error instanceof DOMException && error.name === 'TimeoutError') return new Failure('timeout');
    return new Failure('network', { message: error instanceof Error ? error.message : String(error) });
  }
}

/** What the page offers next to the sentence about a failure. */
export type Remedy = 'retry' | 'sign_in' | 'new_chat' | 'reload' | 'none';

const REMEDIES: Record<string, Remedy> = {
  not_authenticated: 'sign_in',
  invalid_credentials: 'sign_in',
  invalid_api_key: 'sign_in',
  api_key_expired: 'sign_in',
  permission_denied: 'none',
  ticket_invalid: 'reload',
  origin_forbidden: 'reload',
  tenant_suspended: 'none',
  tenant_not_found: 'none',
  not_found: 'new_chat',
  agent_not_found: 'new_chat',
  model_not_found: 'none',
  model_unpriced: 'none',
  stream_gone: 'reload',
  message_empty: 'none',
  message_too_long: 'none',
  request_too_large: 'none',
  context_too_long: 'new_chat',
  malformed_json: 'reload',
  method_not_allowed: 'reload',
  file_unsupported: 'none',
  file_too_large: 'none',
  too_many_files: 'none',
  storage_full: 'none',
};

export function remedyFor(code: string): Remedy {
  return REMEDIES[code] ?? 'retry';
}

export function needsSignIn(code: string): boolean {
  return remedyFor(code) === 'sign_in';
}
