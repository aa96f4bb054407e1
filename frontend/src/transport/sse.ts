import type { Api } from '../api/client';
import { isRunEvent } from '../api/contract';
import { Failure } from '../api/failure';
import type { RunEvent } from '../protocol.gen';
import { Backoff } from './backoff';
import { EventStreamParser } from './eventstream';
import { SILENCE_MS } from './socket';

/** A browser opens six HTTP/1.1 connections to a host; two stay free for everything else. */
export const MAX_STREAMS = 4;

export interface SseEvents {
  /** A reading of this run begins (again); returns the last seq the page has. */
  begin(runId: string): number;
  event(event: RunEvent): void;
  /** The run cannot be followed, and a repeat would not help. */
  refused(runId: string, failure: Failure): void;
  /** `false`: at least one stream is broken and being opened again. */
  healthy(healthy: boolean): void;
}

/** Follows runs over server-sent events, each on a request of its own that is repeated until the run ends. */
export class SseFollower {
  readonly #api: Api;
  readonly #events: SseEvents;
  readonly #active = new Map<string, AbortController>();
  readonly #waiting: string[] = [];
  readonly #broken = new Set<string>();

  constructor(api: Api, events: SseEvents) {
    this.#api = api;
    this.#events = events;
  }

  follow(runId: string): void {
    if (this.#active.has(runId) || this.#waiting.includes(runId)) return;
    this.#waiting.push(runId);
    this.#fill();
  }

  unfollow(runId: string): void {
    const index = this.#waiting.indexOf(runId);
    if (index >= 0) this.#waiting.splice(index, 1);
    this.#active.get(runId)?.abort();
    this.#release(runId);
  }

  close(): void {
    this.#waiting.length = 0;
    for (const runId of [...this.#active.keys()]) this.unfollow(runId);
  }

  #fill(): void {
    while (this.#active.size < MAX_STREAMS) {
      const runId = this.#waiting.shift();
      if (runId === undefined) return;
      const controller = new AbortController();
      this.#active.set(runId, controller);
      void this.#run(runId, controller);
    }
  }

  #release(runId: string): void {
    this.#active.delete(runId);
    this.#mark(runId, true);
    this.#fill();
  }

  #mark(runId: string, healthy: boolean): void {
    if (healthy) this.#broken.delete(runId);
    else this.#broken.add(runId);
    this.#events.healthy(this.#broken.size === 0);
  }

  async #run(runId: string, controller: AbortController): Promise<void> {
    const backoff = new Backoff();
    while (!controller.signal.aborted) {
      try {
        const finished = await this.#read(runId, controller.signal, backoff);
        if (finished) {
          this.#release(runId);
          return;
        }
      } catch (error) {
        if (controller.signal.aborted) return;
        const failure = Failure.from(error);
        if (failure.status >= 400 && failure.status < 500 && failure.status !== 429) {
          this.#release(runId);
          this.#events.refused(runId, failure);
          return;
        }
      }
      if (controller.signal.aborted) return;
      this.#mark(runId, false);
      await pause(backoff.next(), controller.signal);
    }
  }

  /** One request; true when the run's terminal event came. */
  async #read(runId: string, signal: AbortSignal, backoff: Backoff): Promise<boolean> {
    const request = new AbortController();
    const stop = (): void => request.abort();
    signal.addEventListener('abort', stop);
    let silence = setTimeout(stop, SILENCE_MS);
    try {
      const response = await this.#api.events(runId, this.#events.begin(runId), request.signal);
      if (!response.body) throw new Failure('network');
      this.#mark(runId, true);
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      const parser = new EventStreamParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return false;
        clearTimeout(silence);
        silence = setTimeout(stop, SILENCE_MS);
        backoff.reset();
        for (const { data } of parser.push(decoder.decode(value, { stream: true }))) {
          // A reading that was replaced must not add what is left of its last chunk.
          if (signal.aborted) return false;
          if (this.#deliver(data)) return true;
        }
      }
    } finally {
      clearTimeout(silence);
      signal.removeEventListener('abort', stop);
      request.abort();
    }
  }

  #deliver(data: string): boolean {
    const event = JSON.parse(data) as unknown;
    if (!isRunEvent(event)) return false;
    this.#events.event(event);
    return event.type === 'run.completed' || event.type === 'run.failed' || event.type === 'run.cancelled';
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
