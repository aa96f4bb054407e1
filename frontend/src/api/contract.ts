import type { RunEvent, SourceCited } from '../protocol.gen';

/** The native API and websocket as the page uses them (see docs for the full contract). */

export interface Agent {
  id: string;
  slug: string;
  name: string;
  description: string;
  model: string;
  /** "builtin": every workspace has it; the page offers the workspace's own only. */
  kind?: 'model' | 'builtin';
  /** The names of those that it has. */
  tools?: string[];
}

export interface Conversation {
  id: string;
  title: string;
  agent: { slug: string; name: string } | null;
  created_at: string;
  updated_at: string;
  /** When it was pinned. */
  pinned_at?: string | null;
  active_run_id: string | null;
  /** Its run waits for a person to decide on a call of a tool. */
  waiting?: boolean;
}

export interface ConversationPage {
  conversations: Conversation[];
  next_cursor: string | null;
}

/** A conversation that says what was looked for; `match`: the message that does, if it is not the title. */
export interface FoundConversation extends Conversation {
  match: { message_id: string; role: 'user' | 'assistant'; text: string } | null;
}

/** A passage that a run was shown, to be cited as [n]. */
export type Source = SourceCited['data'];

export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cached_tokens: number;
  reasoning_tokens: number;
  counted: boolean;
  cost: string | null;
  currency: string;
}

/** What the person thinks of an answer. */
export interface Feedback {
  rating: 'up' | 'down';
  comment: string;
}

/** A run that left a trace of its steps, and how much there is in it. */
export interface TraceCount {
  run_id: string;
  tools: number;
  members: number;
}

/** A step of a stored run, as `GET /api/v1/runs/{id}/trace` has it. */
export interface Step {
  path: string;
  index: number;
  kind: 'model' | 'tool' | 'agent' | 'approval' | 'query';
  name: string;
  /** Of a member of a team: what people call it. */
  title?: string;
  /** null: it has not ended. */
  ok: boolean | null;
  input: unknown;
  output: unknown;
  call_id?: string;
  approval_id?: string;
  tainted: boolean;
  duration_ms: number | null;
}

export interface Trace {
  run_id: string;
  steps: Step[];
  /** More was done than the trace has kept. */
  cut: boolean;
}

/** A call of a tool that waits for a person, or waited. */
export interface ApprovalView {
  id: string;
  run_id: string;
  path: string;
  name: string;
  effect: 'read' | 'write' | 'egress';
  /** The arguments to the letter, as JSON text in which nothing is invisible. */
  arguments_text: string;
  arguments_hash: string;
  reason: 'tainted' | 'policy' | 'changed';
  status: 'pending' | 'approved' | 'denied' | 'expired';
  may_decide: boolean;
  decided_by: string | null;
  note: string;
  expires_at: string;
}

export interface Decision {
  decision: 'approve' | 'deny';
  arguments_hash: string;
  note: string;
}

/** A file of a conversation, as messages name it. */
export interface NamedFile {
  id: string;
  name: string;
}

export interface StoredFile extends NamedFile {
  kind: string;
  size: number;
}

export interface StoredMessage {
  id: string;
  /** What it follows; null: it begins the conversation. */
  parent_id: string | null;
  /** Itself and the messages beside it, oldest first. */
  siblings: string[];
  role: 'user' | 'assistant';
  content: string;
  reasoning: string | null;
  status: 'complete' | 'stopped' | 'failed';
  error: { code: string; message: string } | null;
  run_id: string | null;
  finish_reason: string | null;
  created_at: string;
  usage: Usage | null;
  feedback?: Feedback | null;
  /** The runs of this answer that left a trace, in order. */
  traces?: TraceCount[];
  /** What a message of the person came with. */
  files?: NamedFile[];
}

export interface MessagePage {
  conversation: Conversation;
  messages: StoredMessage[];
  /** `message_id`: the answer that this run continues. */
  active_run: { id: string; last_seq: number; status: string; message_id: string | null } | null;
}

export interface TurnRequest {
  agent?: string;
  conversation_id?: string;
  message?: string;
  /** Files of the conversation that `message` comes with, by their ids. */
  files?: string[];
  retry?: boolean;
  /** An answer, by its id: another one is written beside it. */
  regenerate?: string;
  /** An answer that was cut: it goes on. */
  continue?: string;
  /** What `message` follows, if not the last one shown; null: it begins the conversation anew. */
  parent_message_id?: string | null;
}

/** A conversation that was there before the turn is named by its id only. */
export type NamedConversation = Pick<Conversation, 'id'> & Partial<Conversation>;

export interface TurnAccepted {
  runId: string;
  conversation: NamedConversation;
  messageId: string | null;
}

export interface RunCreated {
  run: { id: string; status: string; last_seq: number };
  conversation: NamedConversation;
  message_id: string | null;
}

export type ClientFrame =
  | ({ type: 'turn.start'; ref: string } & TurnRequest)
  | { type: 'run.follow'; run_id: string; after_seq: number }
  | { type: 'run.unfollow'; run_id: string }
  | { type: 'run.cancel'; run_id: string }
  | { type: 'ping' };

export interface AcceptedFrame {
  type: 'turn.accepted';
  ref: string;
  run_id: string;
  conversation: NamedConversation;
  message_id: string | null;
}

export interface ErrorFrame {
  type: 'error';
  ref: string | null;
  run_id: string | null;
  code: string;
  message: string;
  retry_after: number | null;
}

export type ServerFrame =
  | { type: 'ready'; heartbeat_seconds: number }
  | { type: 'heartbeat' }
  | { type: 'pong' }
  | AcceptedFrame
  | ErrorFrame
  | RunEvent;

const RUN_EVENT_TYPES: ReadonlySet<string> = new Set<RunEvent['type']>([
  'run.queued',
  'run.started',
  'model.changed',
  'text.delta',
  'text.discarded',
  'reasoning.delta',
  'tool.started',
  'tool.finished',
  'tool.delta',
  'tool.called',
  'agent.started',
  'agent.delta',
  'agent.finished',
  'source.cited',
  'approval.requested',
  'approval.decided',
  'message.completed',
  'run.completed',
  'run.failed',
  'run.cancelled',
]);

/** True for every envelope of a run, also of a type this page does not know yet: its seq still counts. */
export function isRunEvent(frame: unknown): frame is RunEvent {
  if (typeof frame !== 'object' || frame === null) return false;
  const { run_id: runId, seq, type } = frame as Record<string, unknown>;
  return typeof runId === 'string' && typeof seq === 'number' && typeof type === 'string';
}

export function isKnownEvent(event: RunEvent): boolean {
  return RUN_EVENT_TYPES.has(event.type);
}
