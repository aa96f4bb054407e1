import { isKnownEvent } from '../api/contract';
import type { RunEvent } from '../protocol.gen';
import { Observable } from '../store/observable';
import type { FrameScheduler } from './frames';
import { isOver, newRun, reduce, type RunState } from './reducer';
import { Sequence } from './sequence';

/** How long a second reading of the log may make no progress before it is asked for again. */
const RECOVERY_MS = 3000;

/**
 * One run as the page shows it. Events change the state at once; listeners hear of it once a frame,
 * and of the end immediately.
 */
export class RunFeed extends Observable<RunState> {
  readonly #sequence = new Sequence();
  readonly #schedule: FrameScheduler;
  readonly #onGap: () => void;
  #next: RunState;
  #queued = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(runId: string, schedule: FrameScheduler, onGap: () => void) {
    super(newRun(runId));
    this.#next = this.get();
    this.#schedule = schedule;
    this.#onGap = onGap;
  }

  get lastSeq(): number {
    return this.#sequence.last;
  }

  get over(): boolean {
    return isOver(this.#next);
  }

  /** A new wire reads this run after `lastSeq`. */
  restart(): void {
    clearTimeout(this.#timer);
    this.#sequence.restart();
  }

  push(event: RunEvent): void {
    const verdict = this.#sequence.offer(event.seq);
    if (verdict === 'gap') this.#recover();
    if (verdict !== 'apply') return;
    if (!this.#sequence.recovering) clearTimeout(this.#timer);
    if (!isKnownEvent(event)) return;
    this.#next = reduce(this.#next, event);
    if (this.over) this.flush();
    else this.#publishSoon();
  }

  flush(): void {
    this.set(this.#next);
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #publishSoon(): void {
    if (this.#queued) return;
    this.#queued = true;
    this.#schedule(() => {
      this.#queued = false;
      this.flush();
    });
  }

  #recover(): void {
    this.#onGap();
    this.#watch(this.#sequence.last);
  }

  #watch(from: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.over || !this.#sequence.recovering) return;
      if (this.#sequence.last === from) this.#recover();
      else this.#watch(this.#sequence.last);
    }, RECOVERY_MS);
  }
}
