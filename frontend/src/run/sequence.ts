/** What to do with an arriving event: use it, ignore it, ask the log again, or ignore it until the log has answered. */
export type Verdict = 'apply' | 'duplicate' | 'gap' | 'hold';

/**
 * Keeps one run's events in order whatever the wire does.
 *
 * The log numbers a run's events 1, 2, 3... A number at or below the last one used is a duplicate. A number
 * above the next one is a gap: the caller follows the run again after `last`. Until that second reading has
 * caught up with the highest number seen, two readings may be mixed on one socket: the old one only sends
 * numbers above `highest`, so anything at or below it comes from the new one and is in order.
 */
export class Sequence {
  /** The last event that was used: where to resume. */
  last = 0;
  #highest = 0;
  #fresh = true;

  get recovering(): boolean {
    return this.last < this.#highest;
  }

  /** A reading begins on a wire that carries no older one of this run: what comes first is what the log has. */
  restart(): void {
    this.#highest = this.last;
    this.#fresh = true;
  }

  offer(seq: number): Verdict {
    if (seq <= this.last) return 'duplicate';
    const inOrder = seq === this.last + 1 || this.#fresh || seq <= this.#highest;
    if (inOrder) {
      this.#fresh = false;
      this.last = seq;
      this.#highest = Math.max(this.#highest, seq);
      return 'apply';
    }
    const verdict = this.recovering ? 'hold' : 'gap';
    this.#highest = seq;
    return verdict;
  }
}
