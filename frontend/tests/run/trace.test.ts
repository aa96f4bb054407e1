import { describe, expect, it } from 'vitest';
import type { Step } from '../../src/api/contract';
import { workOf } from '../../src/run/trace';

const step = (kind: Step['kind'], more: Partial<Step>): Step => ({
  path: '', index: 0, kind, name: 'x', ok: true, input: null, output: null, tainted: false, duration_ms: 1, ...more,
});
const work = (...steps: Step[]) => workOf({ run_id: 'r', steps, cut: false });

describe('workOf', () => {
  it('shows calls with what went in and out, and the decisions on them in order', () => {
    const decision = (id: string, said: string): Step =>
      step('approval', { input: { call_id: id }, output: { decision: said, by: 'u1', note: '' } });
    const { tools } = work(
      step('model', {}),
      step('tool', { call_id: 'c0', input: { q: 1 }, output: 'found', tainted: true }),
      step('tool', { call_id: 'c0', approval_id: 'a1', ok: false, output: 'refused' }),
      decision('c0', 'denied'),
      step('tool', { call_id: 'c0', approval_id: 'a2', output: 'sent' }),
      decision('c0', 'approved'),
      step('tool', { call_id: 'c1', ok: null, duration_ms: null }),
    );
    expect(tools).toMatchObject([
      { callId: 'c0', arguments: { q: 1 }, result: 'found', error: null, done: true, tainted: true, approval: null },
      { result: null, error: 'refused', approval: { id: 'a1', decision: 'denied', by: 'u1' } },
      { result: 'sent', approval: { id: 'a2', decision: 'approved' } },
      { done: false, durationMs: null },
    ]);
  });

  it('shows members with their words and what went wrong with them', () => {
    const { members } = work(
      step('agent', { name: 'writer', input: { path: '0.writer', task: 'write' }, output: { text: 'Well.', reason: 'stop' } }),
      step('model', { path: '0.writer', output: { text: 'Well.', reasoning: 'hm' } }),
      step('agent', { name: 'critic', input: { path: '1.critic', task: 't' }, ok: false, output: { message: 'gone' } }),
      step('agent', { name: 'cut', input: '{"path": "2.cut', output: 'cut text' }),
    );
    expect(members).toMatchObject([
      { path: '0.writer', name: 'writer', task: 'write', text: 'Well.', reasoning: 'hm', error: null, done: true },
      { path: '1.critic', text: '', error: 'gone' },
      { path: '', name: 'cut' },
    ]);
  });
});
