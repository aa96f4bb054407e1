import type { Source } from '../api/contract';
import type { RunEvent } from '../protocol.gen';
import {
  askedCall,
  decidedCall,
  finishedCall,
  finishedMember,
  saidMember,
  startedCall,
  startedMember,
  type ToolCall,
  waitingCalls,
  type Work,
} from './work';

export type RunStatus = 'waiting' | 'running' | 'completed' | 'failed' | 'cancelled';
export type RunUsage = Extract<RunEvent, { type: 'run.completed' }>['data']['usage'];
export type FinishReason = Extract<RunEvent, { type: 'run.completed' }>['data']['finish_reason'];

export interface RunState extends Work {
  runId: string;
  status: RunStatus;
  /** Its place among the runs that wait for their turn; null once it has begun, or never had to wait. */
  position: number | null;
  model: string | null;
  text: string;
  /** How much of `text` belongs to messages that are complete; the rest is still being written. */
  sealed: number;
  reasoning: string;
  /** The passages that it was shown. */
  sources: readonly Source[];
  /** How many calls of tools wait for a person. */
  waitsFor: number;
  messageId: string | null;
  finishReason: FinishReason | null;
  failure: { code: string; message: string; retryable: boolean } | null;
  usage: RunUsage | null;
}

export function newRun(runId: string): RunState {
  return {
    runId,
    status: 'waiting',
    position: null,
    model: null,
    text: '',
    sealed: 0,
    reasoning: '',
    tools: [],
    members: [],
    sources: [],
    waitsFor: 0,
    messageId: null,
    finishReason: null,
    failure: null,
    usage: null,
  };
}

export function isOver(state: RunState): boolean {
  return state.status === 'completed' || state.status === 'failed' || state.status === 'cancelled';
}

/** The next state of a run. Events come in order and once (see Sequence); after the terminal one nothing counts. */
export function reduce(state: RunState, event: RunEvent): RunState {
  if (isOver(state)) return state;
  switch (event.type) {
    case 'run.queued':
      return { ...state, position: event.data.position };
    case 'run.started':
      return { ...state, status: 'running', position: null, model: event.data.model };
    case 'model.changed':
      // Of a member of a team, it says nothing about the answer's model.
      return event.data.path ? state : { ...state, model: event.data.model };
    case 'text.delta':
      return { ...state, status: 'running', ...append(state, event.data.text) };
    case 'text.discarded':
      return { ...state, text: state.text.slice(0, state.sealed) };
    case 'reasoning.delta':
      return { ...state, status: 'running', reasoning: state.reasoning + event.data.text };
    case 'tool.started':
      return { ...state, status: 'running', tools: [...state.tools, startedCall(event.data)] };
    case 'tool.finished':
      return { ...state, tools: finishedCall(state.tools, event.data) };
    case 'source.cited':
      return { ...state, sources: [...state.sources, event.data] };
    case 'approval.requested':
      return withCalls(state, askedCall(state.tools, event.data));
    case 'approval.decided':
      return withCalls(state, decidedCall(state.tools, event.data));
    case 'agent.started':
      return { ...state, status: 'running', members: [...state.members, startedMember(event.data)] };
    case 'agent.delta':
      return { ...state, members: saidMember(state.members, event.data) };
    case 'agent.finished':
      return { ...state, members: finishedMember(state.members, event.data) };
    case 'message.completed':
      return { ...state, ...seal(state, event.data) };
    case 'run.completed':
      return { ...state, status: 'completed', finishReason: event.data.finish_reason, usage: event.data.usage };
    case 'run.failed': {
      const { code, message, retryable, usage } = event.data;
      return { ...state, status: 'failed', failure: { code, message, retryable }, usage };
    }
    case 'run.cancelled':
      return { ...state, status: 'cancelled', finishReason: 'cancelled', usage: event.data.usage };
    default:
      return state;
  }
}

type Data<T extends RunEvent['type']> = Extract<RunEvent, { type: T }>['data'];

function append(state: RunState, text: string): Pick<RunState, 'text' | 'sealed'> {
  // A run with tools writes several messages; they are read as paragraphs of one answer.
  if (state.sealed > 0 && state.sealed === state.text.length) {
    const before = `${state.text}\n\n`;
    return { text: before + text, sealed: before.length };
  }
  return { text: state.text + text, sealed: state.sealed };
}

/** The message's own content is the truth; it is empty where the run ended before it was known. */
function seal(state: RunState, data: Data<'message.completed'>): Partial<RunState> {
  const text = data.content === '' ? state.text : state.text.slice(0, state.sealed) + data.content;
  return {
    text,
    sealed: text.length,
    messageId: data.message_id ?? state.messageId,
    finishReason: data.finish_reason,
  };
}

function withCalls(state: RunState, tools: readonly ToolCall[]): RunState {
  return { ...state, tools, waitsFor: waitingCalls(tools) };
}
