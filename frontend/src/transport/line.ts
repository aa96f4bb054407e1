import type { Api } from '../api/client';
import type { AcceptedFrame, ErrorFrame, TurnAccepted, TurnRequest } from '../api/contract';
import { Failure, needsSignIn } from '../api/failure';
import type { RunEvent } from '../protocol.gen';
import { Observable } from '../store/observable';
import { Backoff } from './backoff';
import { ChatSocket, type SocketFactory } from './socket';
import { SseFollower } from './sse';
import { newRef, PendingTurns } from './turns';

export type LineStatus = 'connecting' | 'online' | 'reconnecting' | 'offline' | 'signed_out' | 'refused';

export interface LineState {
  status: LineStatus;
  /** `sse`: no websocket gets through here, so turns go by POST and answers come as server-sent events. */
  mode: 'socket' | 'sse';
}

export interface LineEvents {
  lastSeq(runId: string): number;
  /** A wire that carries no older reading of this run starts to read it after `lastSeq`. */
  restart(runId: string): void;
  accepted(turn: TurnAccepted): void;
  event(event: RunEvent): void;
  runRefused(runId: string, failure: Failure): void;
  failure(failure: Failure): void;
}

export interface LineOptions {
  url: string;
  socket: SocketFactory;
}

const FAILED_OPENS_BEFORE_SSE = 2;
const UPGRADE_MS = 60_000;
/** A run that is followed while no socket is up is read over SSE after this time, until one is. */
const BRIDGE_MS = 2_000;
/** A socket that lived this long was a good one; the next loss starts the back-off from the beginning. */
const STEADY_MS = 10_000;
/** The server closes a socket on a frame above 256 KiB; a long message goes by POST and gets a proper answer. */
const FRAME_LIMIT = 200_000;

/** The page's one connection to the platform: a websocket that comes back by itself, or POST and SSE instead. */
export class Line {
  readonly state = new Observable<LineState>({ status: 'connecting', mode: 'socket' });
  readonly #api: Api;
  readonly #events: LineEvents;
  readonly #options: LineOptions;
  readonly #sse: SseFollower;
  readonly #followed = new Set<string>();
  readonly #turns = new PendingTurns();
  readonly #backoff = new Backoff();
  #socket: ChatSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #bridgeTimer: ReturnType<typeof setTimeout> | undefined;
  #upSince = 0;
  #failedOpens = 0;
  #closed = false;

  constructor(api: Api, events: LineEvents, options: LineOptions) {
    this.#api = api;
    this.#events = events;
    this.#options = options;
    this.#sse = new SseFollower(api, {
      begin: (runId) => {
        events.restart(runId);
        return events.lastSeq(runId);
      },
      event: (event) => events.event(event),
      refused: (runId, failure) => this.#runRefused(runId, failure),
      healthy: (healthy) => {
        if (this.state.get().mode === 'sse') this.#status(healthy ? 'online' : 'reconnecting');
      },
    });
  }

  open(): void {
    this.#closed = false;
    this.#connect();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#bridgeTimer);
    this.#sse.close();
    this.#socket?.close();
    this.#socket = null;
  }

  /** The page is looked at again or the network is back: find out now instead of at the next timer. */
  wake(): void {
    if (this.#closed) return;
    if (this.#socket?.up || this.state.get().mode === 'sse') this.#status('online');
    if (this.#socket) this.#socket.check();
    else this.#connect();
  }

  networkLost(): void {
    this.#status('offline');
  }

  async startTurn(request: TurnRequest): Promise<TurnAccepted> {
    const ref = newRef();
    const frame = { type: 'turn.start' as const, ref, ...request };
    if (this.#socket?.up && (request.message?.length ?? 0) < FRAME_LIMIT / 3) {
      const answer = this.#turns.expect(ref);
      this.#socket.send(frame);
      return answer;
    }
    if (!this.#socket) this.wake();
    const created = await this.#api.startRun(request);
    const turn = {
      runId: created.run.id,
      conversation: created.conversation,
      messageId: created.message_id,
    };
    this.#events.accepted(turn);
    this.follow(turn.runId);
    return turn;
  }

  follow(runId: string): void {
    if (this.#followed.has(runId)) return;
    this.#followed.add(runId);
    this.#read(runId);
  }

  unfollow(runId: string): void {
    if (!this.#followed.delete(runId)) return;
    this.#sse.unfollow(runId);
    this.#socket?.send({ type: 'run.unfollow', run_id: runId });
  }

  /** The run's last event came: there is nothing to read again after a reconnect. */
  finished(runId: string): void {
    this.#followed.delete(runId);
    this.#sse.unfollow(runId);
  }

  /** Events are missing: read the run's log again after the last good one. */
  refollow(runId: string): void {
    if (!this.#followed.has(runId)) return;
    if (this.#socket?.up) {
      this.#socket.send({ type: 'run.unfollow', run_id: runId });
      this.#socket.send({ type: 'run.follow', run_id: runId, after_seq: this.#events.lastSeq(runId) });
    } else {
      this.#sse.unfollow(runId);
      this.#sse.follow(runId);
    }
  }

  async cancel(runId: string): Promise<void> {
    if (this.#socket?.up) this.#socket.send({ type: 'run.cancel', run_id: runId });
    else await this.#api.cancelRun(runId);
  }

  #read(runId: string): void {
    if (this.#socket?.up) {
      this.#events.restart(runId);
      this.#socket.send({ type: 'run.follow', run_id: runId, after_seq: this.#events.lastSeq(runId) });
    } else if (this.state.get().mode === 'sse') {
      this.#sse.follow(runId);
    } else {
      this.#bridge();
    }
  }

  /** A socket may hang for long in a proxy that does not know websockets; answers do not wait for it. */
  #bridge(): void {
    clearTimeout(this.#bridgeTimer);
    this.#bridgeTimer = setTimeout(() => {
      if (this.#closed || this.#socket?.up) return;
      for (const runId of this.#followed) this.#sse.follow(runId);
    }, BRIDGE_MS);
  }

  #connect(): void {
    clearTimeout(this.#timer);
    if (this.#closed || this.#socket) return;
    const socket: ChatSocket = new ChatSocket(this.#options.url, this.#options.socket, {
      up: () => this.#up(),
      down: (code, reason, wasUp) => {
        if (this.#socket === socket) this.#down(code, reason, wasUp);
      },
      accepted: (frame) => this.#accepted(frame),
      refused: (frame) => this.#refused(frame),
      event: (event) => this.#events.event(event),
    });
    this.#socket = socket;
  }

  #up(): void {
    this.#failedOpens = 0;
    this.#upSince = Date.now();
    this.#sse.close();
    this.state.set({ status: 'online', mode: 'socket' });
    for (const runId of this.#followed) this.#read(runId);
  }

  #down(code: number, reason: string, wasUp: boolean): void {
    this.#socket = null;
    this.#turns.rejectAll(new Failure(code === 1009 ? 'message_too_long' : 'connection_lost'));
    if (this.#closed) return;
    this.#bridge();
    if (wasUp && Date.now() - this.#upSince > STEADY_MS) this.#backoff.reset();
    if (code === 4401) this.#end('signed_out', new Failure(reason || 'not_authenticated'));
    else if (code === 4403) this.#end('refused', new Failure(reason || 'origin_forbidden'));
    else if (code === 4429 || (this.state.get().mode === 'sse' && !wasUp)) this.#fallBack();
    else if (!wasUp) void this.#probe();
    else this.#later('reconnecting');
  }

  /** A refused handshake tells the page nothing, so the API is asked what is the matter. */
  async #probe(): Promise<void> {
    try {
      await this.#api.me();
    } catch (error) {
      if (this.#socket) return; // the network came back while this was asked, and a new one began: it will tell
      const failure = Failure.from(error);
      if (needsSignIn(failure.code)) this.#end('signed_out', failure);
      else if (failure.status === 403) this.#end('refused', failure);
      else this.#later(navigator.onLine ? 'reconnecting' : 'offline');
      return;
    }
    if (this.#socket) return;
    this.#failedOpens += 1;
    if (this.#failedOpens >= FAILED_OPENS_BEFORE_SSE) this.#fallBack();
    else this.#later('reconnecting');
  }

  #later(status: LineStatus): void {
    if (this.#closed) return;
    this.#status(status);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), this.#backoff.next());
  }

  #fallBack(): void {
    if (this.#closed) return;
    if (this.state.get().mode === 'socket') {
      this.state.set({ status: 'online', mode: 'sse' });
      for (const runId of this.#followed) this.#sse.follow(runId);
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), UPGRADE_MS);
  }

  #end(status: 'signed_out' | 'refused', failure: Failure): void {
    if (this.#closed) return;
    this.state.set({ status, mode: 'socket' });
    this.#events.failure(failure);
  }

  #status(status: LineStatus): void {
    const { mode } = this.state.get();
    if (this.state.get().status !== status) this.state.set({ status, mode });
  }

  #accepted(frame: AcceptedFrame): void {
    const turn = { runId: frame.run_id, conversation: frame.conversation, messageId: frame.message_id };
    // Before the promise: the run's first events may be in the very next frame.
    this.#followed.add(turn.runId);
    this.#events.accepted(turn);
    this.#events.restart(turn.runId);
    this.#turns.resolve(frame.ref, turn);
  }

  #refused(frame: ErrorFrame): void {
    const failure = new Failure(frame.code, { message: frame.message, retryAfter: frame.retry_after });
    if (frame.ref !== null && this.#turns.reject(frame.ref, failure)) return;
    if (frame.run_id !== null) this.#runRefused(frame.run_id, failure);
    else if (needsSignIn(frame.code)) this.#end('signed_out', failure);
    else this.#events.failure(failure);
  }

  #runRefused(runId: string, failure: Failure): void {
    this.#followed.delete(runId);
    this.#events.runRefused(runId, failure);
  }
}
