import type { Api } from '../../src/api/client';
import type { ClientFrame, ServerFrame } from '../../src/api/contract';
import { Line, type LineEvents } from '../../src/transport/line';
import { vi } from 'vitest';

/** A websocket whose other end is the test. */
export class FakeSocket {
  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((close: { code: number; reason: string }) => void) | null = null;
  sent: ClientFrame[] = [];
  closed = false;

  send(data: string): void {
    this.sent.push(JSON.parse(data) as ClientFrame);
  }

  close(): void {
    this.closed = true;
  }

  ready(): this {
    this.say({ type: 'ready', heartbeat_seconds: 15 });
    return this;
  }

  say(frame: ServerFrame): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  drop(code = 1006, reason = ''): void {
    this.onclose?.({ code, reason });
  }
}

/** Server-sent events that the test writes. */
export class FakeStream {
  readonly response: Response;
  #controller!: ReadableStreamDefaultController<Uint8Array>;

  constructor(signal: AbortSignal) {
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (this.#controller = controller) });
    signal.addEventListener('abort', () => {
      try {
        this.#controller.error(new DOMException('aborted', 'AbortError'));
      } catch {
        // It had ended before.
      }
    });
    this.response = { ok: true, body } as unknown as Response;
  }

  say(...events: { run_id: string; seq: number; type: string }[]): void {
    const text = events.map((event) => `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    this.#controller.enqueue(new TextEncoder().encode(text.join('')));
  }

  end(): void {
    this.#controller.close();
  }
}

export function makeLine() {
  const sockets: FakeSocket[] = [];
  const streams: { runId: string; after: number; stream: FakeStream }[] = [];
  const api = {
    me: vi.fn(async () => ({})),
    startRun: vi.fn(async () => ({
      run: { id: 'posted', status: 'running', last_seq: 0 },
      conversation: { id: 'c1' },
      message_id: 'm1',
    })),
    cancelRun: vi.fn(async () => ({})),
    events: vi.fn(async (runId: string, after: number, signal: AbortSignal) => {
      const stream = new FakeStream(signal);
      streams.push({ runId, after, stream });
      return stream.response;
    }),
  };
  const seqs = new Map<string, number>();
  const events = {
    lastSeq: vi.fn((runId: string) => seqs.get(runId) ?? 0),
    restart: vi.fn(),
    accepted: vi.fn(),
    event: vi.fn((event: { run_id: string; seq: number }) => void seqs.set(event.run_id, event.seq)),
    runRefused: vi.fn(),
    failure: vi.fn(),
  };
  const line = new Line(api as unknown as Api, events as unknown as LineEvents, {
    url: 'ws://acme.test/ws/chat/',
    socket: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket as unknown as WebSocket;
    },
  });
  return { line, sockets, streams, api, events, seqs };
}
