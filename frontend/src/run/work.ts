import type { RunEvent } from '../protocol.gen';

type Data<T extends RunEvent['type']> = Extract<RunEvent, { type: T }>['data'];
export type Effect = Data<'approval.requested'>['effect'];

/** That a call of a tool waits, or waited, for a person. What exactly is asked, the API says. */
export interface Approval {
  id: string;
  /** null: nobody has decided yet. */
  decision: 'approved' | 'denied' | 'expired' | null;
  /** The person's id. */
  by: string | null;
  note: string;
}

export interface ToolCall {
  /** Of the member of a team that calls it; '': the answer's own agent does. */
  path: string;
  callId: string;
  name: string;
  arguments: unknown;
  result: unknown;
  error: unknown;
  done: boolean;
  durationMs: number | null;
  /** What it gave back comes from outside. */
  tainted: boolean;
  approval: Approval | null;
}

/** A member of a team at work. */
export interface Member {
  path: string;
  name: string;
  task: string;
  text: string;
  reasoning: string;
  done: boolean;
  error: string | null;
  durationMs: number | null;
}

/** What was done for an answer besides writing it: calls of tools, and what members of a team did. */
export interface Work {
  tools: readonly ToolCall[];
  members: readonly Member[];
}

/** The path of the member in whose team this one is; '': in that of the answer's own agent. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

export function startedCall(data: Data<'tool.started'>): ToolCall {
  return {
    path: data.path ?? '',
    callId: data.call_id,
    name: data.name,
    arguments: data.arguments,
    result: null,
    error: null,
    done: false,
    durationMs: null,
    tainted: false,
    approval: null,
  };
}

/** A call's id may come again in a later answer of the same member: what is said of it is said of the open one. */
function editCall(
  tools: readonly ToolCall[],
  { call_id: callId, path = '' }: { call_id: string; path?: string },
  change: Partial<ToolCall>,
): readonly ToolCall[] {
  const at = tools.findLastIndex((call) => !call.done && call.callId === callId && call.path === path);
  return at < 0 ? tools : tools.with(at, { ...tools[at]!, ...change });
}

export function finishedCall(tools: readonly ToolCall[], data: Data<'tool.finished'>): readonly ToolCall[] {
  return editCall(tools, data, {
    result: data.result ?? null,
    error: data.error ?? (data.ok === false ? '' : null),
    done: true,
    durationMs: data.duration_ms ?? null,
    tainted: data.tainted ?? false,
  });
}

export function askedCall(tools: readonly ToolCall[], data: Data<'approval.requested'>): readonly ToolCall[] {
  return editCall(tools, data, { approval: { id: data.approval_id, decision: null, by: null, note: '' } });
}

export function decidedCall(tools: readonly ToolCall[], data: Data<'approval.decided'>): readonly ToolCall[] {
  const { approval_id: id, decision, by, note } = data;
  return editCall(tools, data, { approval: { id, decision, by, note } });
}

/** How many calls wait for a person. */
export function waitingCalls(tools: readonly ToolCall[]): number {
  return tools.filter((call) => call.approval !== null && call.approval.decision === null).length;
}

export function startedMember({ path, name, task }: Data<'agent.started'>): Member {
  return { path, name, task, text: '', reasoning: '', done: false, error: null, durationMs: null };
}

export function saidMember(members: readonly Member[], data: Data<'agent.delta'>): readonly Member[] {
  const said = data.reasoning ? 'reasoning' : 'text';
  return editMember(members, data.path, (member) => ({ [said]: member[said] + data.text }));
}

export function finishedMember(members: readonly Member[], data: Data<'agent.finished'>): readonly Member[] {
  return editMember(members, data.path, (member) => ({
    text: data.content ?? member.text,
    done: true,
    error: data.ok ? null : (data.error ?? ''),
    durationMs: data.duration_ms,
  }));
}

function editMember(
  members: readonly Member[],
  path: string,
  change: (member: Member) => Partial<Member>,
): readonly Member[] {
  const at = members.findLastIndex((member) => member.path === path);
  return at < 0 ? members : members.with(at, { ...members[at]!, ...change(members[at]!) });
}
