import { describe, expect, it } from 'vitest';
import type { RunEvent } from '../../src/protocol.gen';
import { isOver, newRun, reduce } from '../../src/run/reducer';
import { completed, event, RUN, sealed, started, text, USAGE } from '../events';

const play = (...events: RunEvent[]) => events.reduce(reduce, newRun(RUN));

describe('reduce', () => {
  it('builds the text from deltas and ends completed', () => {
    const run = play(started(), text(2, 'Hel'), text(3, 'lo'), sealed(4, 'Hello'), completed(5));
    expect(run).toMatchObject({ text: 'Hello', status: 'completed', messageId: 'm1', usage: USAGE, model: 'm' });
    expect(isOver(run)).toBe(true);
  });

  it('takes the completed message as the truth about its text', () => {
    expect(play(started(), text(2, 'Hel'), sealed(3, 'Hello')).text).toBe('Hello');
  });

  it('keeps what was written when the end came without content', () => {
    expect(play(started(), text(2, 'half'), sealed(3, '')).text).toBe('half');
  });

  it('joins the messages of a run with tools as paragraphs', () => {
    const run = play(started(), text(2, 'One'), sealed(3, 'One'), text(4, 'Tw'), text(5, 'o'), sealed(6, 'Two!'));
    expect(run.text).toBe('One\n\nTwo!');
  });

  it('shows the place of a run that waits until it begins', () => {
    const waits = play(event(1, 'run.queued', { position: 3 }), event(2, 'run.queued', { position: 1 }));
    expect(waits).toMatchObject({ status: 'waiting', position: 1 });
    const begun = event(3, 'run.started', { agent: { slug: 'a', name: 'A' }, model: 'm', conversation_id: null });
    expect(reduce(waits, begun)).toMatchObject({ status: 'running', position: null });
  });

  it('keeps reasoning apart from the text', () => {
    const run = play(started(), event(2, 'reasoning.delta', { text: 'hm' }), text(3, 'yes'));
    expect([run.reasoning, run.text]).toEqual(['hm', 'yes']);
  });

  it('opens and closes tool calls by their id', () => {
    const call = { call_id: 'c1', name: 'search' };
    const open = play(started(), event(2, 'tool.started', { ...call, arguments: { q: 1 } }));
    expect(open.tools).toMatchObject([{ callId: 'c1', name: 'search', done: false }]);
    const shut = reduce(open, event(3, 'tool.finished', { ...call, result: 'found', error: null }));
    expect(shut.tools).toMatchObject([{ done: true, result: 'found', arguments: { q: 1 } }]);
  });

  it('knows a call by its member too, and by which of its answers made it', () => {
    const call = { call_id: 'c1', name: 'search', arguments: {} };
    const run = play(
      started(),
      event(2, 'tool.started', call),
      event(3, 'tool.started', { ...call, path: '0.a' }),
      event(4, 'tool.finished', { call_id: 'c1', name: 'search', ok: true, result: 'own', duration_ms: 7 }),
      event(5, 'tool.started', call),
      event(6, 'tool.finished', { call_id: 'c1', name: 'search', ok: false, error: 'no', tainted: true }),
    );
    expect(run.tools).toMatchObject([
      { path: '', done: true, result: 'own', error: null, durationMs: 7 },
      { path: '0.a', done: false },
      { path: '', done: true, error: 'no', tainted: true },
    ]);
  });

  it('waits for people until each call is decided on', () => {
    const asked = (seq: number, id: string): RunEvent[] => [
      event(seq, 'tool.started', { call_id: id, name: 'send', arguments: { to: id } }),
      event(seq + 1, 'approval.requested', {
        approval_id: `a-${id}`, call_id: id, name: 'send', effect: 'write', arguments: { to: id },
        arguments_hash: 'h', reason: 'tainted', expires_at: '2026-01-01T00:00:00Z',
      }),
    ];
    const decided = (seq: number, id: string, decision: 'approved' | 'denied'): RunEvent =>
      event(seq, 'approval.decided', { approval_id: `a-${id}`, call_id: id, decision, by: 'u1', note: 'well' });
    const waits = play(started(), ...asked(2, 'c1'), ...asked(4, 'c2'), decided(6, 'c1', 'approved'));
    expect(waits.waitsFor).toBe(1);
    expect(waits.tools.map((call) => call.approval?.decision)).toEqual(['approved', null]);
    const goesOn = reduce(waits, decided(7, 'c2', 'denied'));
    expect([goesOn.waitsFor, goesOn.tools[1]?.approval]).toEqual([
      0,
      { id: 'a-c2', decision: 'denied', by: 'u1', note: 'well' },
    ]);
  });

  it('keeps what each member of a team says apart', () => {
    const run = play(
      started(),
      event(2, 'agent.started', { path: '0.a', slug: 'a', name: 'A', task: 'look' }),
      event(3, 'agent.started', { path: '0.a/0.b', slug: 'b', name: 'B', task: 'check' }),
      event(4, 'agent.delta', { path: '0.a', text: 'He' }),
      event(5, 'agent.delta', { path: '0.a/0.b', text: 'hm', reasoning: true }),
      event(6, 'agent.delta', { path: '0.a', text: 'y' }),
      event(7, 'model.changed', { model: 'other', reason: 'x', path: '0.a' }),
      event(8, 'agent.finished', { path: '0.a/0.b', ok: false, error: 'gone', duration_ms: 5 }),
      event(9, 'agent.finished', { path: '0.a', ok: true, content: null, duration_ms: 9 }),
    );
    expect(run.members).toMatchObject([
      { path: '0.a', text: 'Hey', done: true, error: null, durationMs: 9 },
      { path: '0.a/0.b', text: '', reasoning: 'hm', done: true, error: 'gone' },
    ]);
    expect([run.text, run.model]).toEqual(['', 'm']);
  });

  it('ends failed with the code and what was written', () => {
    const failed = event(3, 'run.failed', { code: 'provider_timeout', message: 'slow', retryable: true, usage: USAGE });
    const run = play(started(), text(2, 'half'), failed);
    expect(run).toMatchObject({ status: 'failed', text: 'half', failure: { code: 'provider_timeout', retryable: true } });
  });

  it('ends cancelled with what was written', () => {
    const run = play(started(), text(2, 'half'), event(3, 'run.cancelled', { usage: USAGE }));
    expect(run).toMatchObject({ status: 'cancelled', text: 'half', finishReason: 'cancelled' });
  });

  it('takes nothing after the terminal event', () => {
    const run = play(started(), completed(2), text(3, 'late'));
    expect(run).toMatchObject({ text: '', status: 'completed' });
  });

  it('ignores a type that it does not know', () => {
    const before = play(started());
    expect(reduce(before, { ...text(2, 'x'), type: 'something.new' } as unknown as RunEvent)).toBe(before);
  });
});
