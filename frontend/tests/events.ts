import type { RunEvent } from '../src/protocol.gen';

export const RUN = '0192-run';

export const USAGE = {
  input_tokens: 10,
  output_tokens: 5,
  cached_tokens: 0,
  reasoning_tokens: 0,
  counted: false,
  cost: null,
  currency: 'USD',
};

type Data<T extends RunEvent['type']> = Extract<RunEvent, { type: T }>['data'];

export function event<T extends RunEvent['type']>(seq: number, type: T, data: Data<T>, runId = RUN): RunEvent {
  return { v: 1, run_id: runId, seq, type, data } as RunEvent;
}

export function started(seq = 1): RunEvent {
  return event(seq, 'run.started', { agent: { slug: 'a', name: 'A' }, model: 'm', conversation_id: 'c' });
}

export function text(seq: number, words: string): RunEvent {
  return event(seq, 'text.delta', { text: words });
}

export function sealed(seq: number, content: string): RunEvent {
  return event(seq, 'message.completed', { message_id: 'm1', content, finish_reason: 'stop' });
}

export function completed(seq: number): RunEvent {
  return event(seq, 'run.completed', { finish_reason: 'stop', usage: USAGE });
}
