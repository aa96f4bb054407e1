import type { AcceptedFrame, ClientFrame, ErrorFrame, ServerFrame } from '../api/contract';
import { isRunEvent } from '../api/contract';
import type { RunEvent } from '../protocol.gen';

/** A socket that says nothing for this long is dead, whatever TCP believes (the server beats every 15 s). */
export const SILENCE_MS = 40_000;
export const OPEN_MS = 10_000;
const WATCH_MS = 5_000;

export interface SocketEvents {
  up(): void;
  /** The socket is gone; `code` is the close code (0 when this side gave up on it), `reason` an error code or ''. */
  down(code: number, reason: string, wasUp: boolean): void;
  accepted(frame: AcceptedFrame): void;
  refused(frame: ErrorFrame): void;
  event(event: RunEvent): void;
}

export type SocketFactory = (url: string) => WebSocket;

export function chatSocketUrl(location: Location): string {
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws/chat/`;
}

/** The life of one websocket, from opening to its end. Coming back is the line's business. */
export class ChatSocket {
  readonly #socket: WebSocket;
  readonly #events: SocketEvents;
  readonly #watch: ReturnType<typeof setInterval>;
  #heard = Date.now();
  #up = false;
  #ended = false;

  constructor(url: string, factory: SocketFactory, events: SocketEvents) {
    this.#events = events;
    this.#socket = factory(url);
    this.#socket.onmessage = (message) => this.#receive(message.data);
    this.#socket.onclose = (close) => this.#end(close.code, close.reason);
    this.#watch = setInterval(() => this.check(), WATCH_MS);
  }

  get up(): boolean {
    return this.#up && !this.#ended;
  }

  send(frame: ClientFrame): void {
    if (this.up) this.#socket.send(JSON.stringify(frame));
  }

  /** Ends a socket that has been silent for too long; called on a timer, and when the page wakes up. */
  check(): void {
    const limit = this.#up ? SILENCE_MS : OPEN_MS;
    if (Date.now() - this.#heard >= limit) this.close();
  }

  close(): void {
    this.#end(0, '');
  }

  #receive(data: unknown): void {
    if (this.#ended) return;
    this.#heard = Date.now();
    let frame: ServerFrame;
    try {
      frame = JSON.parse(String(data)) as ServerFrame;
    } catch (error) {
      console.error('A frame of the server is not JSON', error);
      this.close();
      return;
    }
    this.#dispatch(frame);
  }

  #dispatch(frame: ServerFrame): void {
    switch (frame.type) {
      case 'ready':
        this.#up = true;
        this.#events.up();
        return;
      case 'turn.accepted':
        this.#events.accepted(frame);
        return;
      case 'error':
        this.#events.refused(frame);
        return;
      case 'heartbeat':
      case 'pong':
        return;
      default:
        if (isRunEvent(frame)) this.#events.event(frame);
    }
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#watch);
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
    this.#events.down(code, reason, this.#up);
  }
}
