import type { Step, Trace } from '../api/contract';
import type { Approval, Member, ToolCall, Work } from './work';

/** What a stored run did, as a run that is followed would have shown it. */
export function workOf({ steps }: Trace): Work {
  const decisions = steps.filter((step) => step.kind === 'approval');
  const tools = steps.filter((step) => step.kind === 'tool').map((step) => callOf(step, decisions));
  const members = steps.filter((step) => step.kind === 'agent').map((step) => memberOf(step, steps));
  return { tools, members };
}

function callOf(step: Step, decisions: Step[]): ToolCall {
  const callId = step.call_id ?? '';
  return {
    path: step.path,
    callId,
    name: step.name,
    arguments: step.input,
    result: step.ok === false ? null : step.output,
    error: step.ok === false ? (step.output ?? '') : null,
    done: step.ok !== null,
    durationMs: step.duration_ms,
    tainted: step.tainted,
    approval: step.approval_id ? approvalOf(step.approval_id, callId, step.path, decisions) : null,
  };
}

/** A trace that was kept earlier does not say which decision was a call's: there it is the next one of that call in its path. */
function approvalOf(id: string, callId: string, path: string, decisions: Step[]): Approval {
  const named = decisions.findIndex((step) => step.approval_id === id);
  const of = (step: Step): boolean => step.path === path && field(step.input, 'call_id') === callId;
  const at = named < 0 ? decisions.findIndex((step) => step.approval_id === undefined && of(step)) : named;
  const told = at < 0 ? null : decisions.splice(at, 1)[0]!.output;
  const by = field(told, 'by');
  return {
    id,
    decision: (field(told, 'decision') as Approval['decision']) || 'expired',
    by: by === '' ? null : by,
    note: field(told, 'note'),
  };
}

function memberOf(step: Step, steps: Step[]): Member {
  const path = field(step.input, 'path');
  const answers = steps.filter((one) => one.kind === 'model' && one.path === path).map((one) => one.output);
  const said = (name: string): string => answers.map((one) => field(one, name)).filter(Boolean).join('\n\n');
  return {
    path,
    name: step.title ?? step.name,
    task: field(step.input, 'task'),
    text: step.ok === true ? field(step.output, 'text') || said('text') : said('text'),
    reasoning: said('reasoning'),
    done: step.ok !== null,
    error: step.ok === false ? field(step.output, 'message') || String(step.output ?? '') : null,
    durationMs: step.duration_ms,
  };
}

/** A text of an object; '' where there is none, also where the object was cut to a text. */
function field(value: unknown, name: string): string {
  if (typeof value !== 'object' || value === null) return '';
  const found = (value as Record<string, unknown>)[name];
  return typeof found === 'string' ? found : '';
}
