import type { TurnAccepted, TurnRequest } from '../api/contract';
import type { Failure } from '../api/failure';
import type { RunEvent } from '../protocol.gen';
import type { Line, LineEvents } from '../transport/line';
import { RunFeed } from './feed';
import type { FrameScheduler } from './frames';

interface RunsEvents {
  /** The run cannot be followed any more; what became of it stands in the stored messages. */
  lost(runId: string, failure: Failure): void;
  failure(failure: Failure): void;
}

/** The runs this tab follows, each with its feed; the line's other end. */
export class Runs implements LineEvents {
  readonly #feeds = new Map<string, RunFeed>();
  readonly #schedule: FrameScheduler;
  readonly #events: RunsEvents;
  #line: Line | null = null;

  constructor(schedule: FrameScheduler, events: RunsEvents) {
    this.#schedule = schedule;
    this.#events = events;
  }

  attach(line: Line): void {
    this.#line = line;
  }

  get(runId: string): RunFeed | undefined {
    return this.#feeds.get(runId);
  }

  /** The feed of a run, followed from its first event (or from where this tab already is). */
  follow(runId: string): RunFeed {
    const feed = this.#feed(runId);
    if (!feed.over) this.#line?.follow(runId);
    return feed;
  }

  start(request: TurnRequest): Promise<TurnAccepted> {
    return this.#needLine().startTurn(request);
  }

  cancel(runId: string): Promise<void> {
    return this.#needLine().cancel(runId);
  }

  /** The run's answer is a stored message now (or gone): forget the feed. */
  drop(runId: string): void {
    this.#line?.unfollow(runId);
    this.#feeds.get(runId)?.close();
    this.#feeds.delete(runId);
  }

  lastSeq(runId: string): number {
    return this.#feeds.get(runId)?.lastSeq ?? 0;
  }

  restart(runId: string): void {
    this.#feeds.get(runId)?.restart();
  }

  accepted(turn: TurnAccepted): void {
    this.#feed(turn.runId);
  }

  event(event: RunEvent): void {
    const feed = this.#feeds.get(event.run_id);
    if (!feed) return;
    feed.push(event);
    if (feed.over) this.#line?.finished(event.run_id);
  }

  runRefused(runId: string, failure: Failure): void {
    if (this.#feeds.get(runId)?.over === false) this.#events.lost(runId, failure);
  }

  failure(failure: Failure): void {
    this.#events.failure(failure);
  }

  #feed(runId: string): RunFeed {
    let feed = this.#feeds.get(runId);
    if (!feed) {
      feed = new RunFeed(runId, this.#schedule, () => this.#line?.refollow(runId));
      this.#feeds.set(runId, feed);
    }
    return feed;
  }

  #needLine(): Line {
    if (!this.#line) throw new Error('The runs have no line yet');
    return this.#line;
  }
}
