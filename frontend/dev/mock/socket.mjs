// The mock's websocket door, /ws/chat/. MOCK_WS=off refuses every socket, so that the page falls back to SSE.
import { WebSocketServer } from 'ws';
import { Refusal } from './runs.mjs';

const HEARTBEAT_MS = 15_000;

export function socketDoor(runs, store, isSignedIn) {
  const server = new WebSocketServer({ noServer: true, maxPayload: 256 * 1024 });

  return (request, socket, head) => {
    if (process.env.MOCK_WS === 'off' || !request.url.startsWith('/ws/chat/')) {
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }
    server.handleUpgrade(request, socket, head, (client) => {
      if (!isSignedIn(request)) client.close(4401);
      else new Door(client, runs, store).open();
    });
  };
}

class Door {
  #stops = new Map();

  constructor(client, runs, store) {
    Object.assign(this, { client, runs, store });
  }

  open() {
    this.send({ type: 'ready', heartbeat_seconds: HEARTBEAT_MS / 1000 });
    const beat = setInterval(() => this.send({ type: 'heartbeat' }), HEARTBEAT_MS);
    this.client.on('message', (data) => this.receive(JSON.parse(String(data))));
    this.client.on('close', () => {
      clearInterval(beat);
      for (const stop of this.#stops.values()) stop();
    });
  }

  send(frame) {
    if (this.client.readyState === 1) this.client.send(JSON.stringify(frame));
  }

  receive(frame) {
    if (frame.type === 'ping') this.send({ type: 'pong' });
    else if (frame.type === 'turn.start') this.start(frame);
    else if (frame.type === 'run.follow') this.follow(frame.run_id, frame.after_seq);
    else if (frame.type === 'run.unfollow') this.#stops.get(frame.run_id)?.();
    else if (frame.type === 'run.cancel') this.runs.runs.get(frame.run_id)?.cancel();
  }

  start(frame) {
    try {
      const { run, messageId } = this.runs.start(frame);
      if (run.script.tricks.delete('lose')) {
        void run.play();
        this.client.terminate();
        return;
      }
      const conversation = this.store.named(run.conversation);
      this.send({ type: 'turn.accepted', ref: frame.ref, run_id: run.id, conversation, message_id: messageId });
      this.follow(run.id, 0);
      void run.play();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.refuse(frame.ref, null, error);
    }
  }

  follow(runId, afterSeq) {
    const run = this.runs.runs.get(runId);
    if (!run) {
      this.refuse(null, runId, new Refusal('not_found', 404));
      return;
    }
    this.#stops.get(runId)?.();
    this.#stops.set(runId, run.follow(afterSeq, (event) => this.deliver(run, event)));
  }

  /** Sends an event, and plays the run's trick on it once. */
  deliver(run, event) {
    const { tricks } = run.script;
    if (event.seq === 20 && tricks.delete('gap')) return;
    this.send(event);
    if (tricks.has('dup')) this.send(event);
    if (event.seq === 20 && tricks.delete('cut')) this.client.terminate();
  }

  refuse(ref, runId, { code, message, retryAfter }) {
    this.send({ type: 'error', ref, run_id: runId, code, message, retry_after: retryAfter });
  }
}
