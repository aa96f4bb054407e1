const FIRST_MS = 500;
const MOST_MS = 15_000;

/** Exponential back-off with jitter, so that the tabs of a restarted server do not all come back at once. */
export class Backoff {
  #attempt = 0;

  next(): number {
    const ceiling = Math.min(MOST_MS, FIRST_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    return ceiling * (0.5 + Math.random() / 2);
  }

  reset(): void {
    this.#attempt = 0;
  }
}
