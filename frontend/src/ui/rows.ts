/** From one row to another, `end` not included. */
export interface Span {
  begin: number;
  end: number;
}

/** How high rows are, as far as they have been seen; for the others a guess. All in pixels. */
export class Heights {
  readonly #known = new Map<string, number>();
  #seen = 0;
  #guessed = 0;

  constructor(private readonly guess: (key: string) => number) {}

  /** Whether the row has been measured. */
  knows(key: string): boolean {
    return this.#known.has(key);
  }

  /** What a row turned out to be; returns by how much it is more than what was believed. */
  learn(key: string, height: number): number {
    const believed = this.of(key);
    if (!this.#known.has(key)) {
      this.#seen += height;
      this.#guessed += this.guess(key);
    }
    this.#known.set(key, height);
    return height - believed;
  }

  /** Guesses are corrected by how wrong they have been so far. */
  of(key: string): number {
    return this.#known.get(key) ?? Math.round(this.guess(key) * (this.#guessed > 0 ? this.#seen / this.#guessed : 1));
  }

  /** The height of the rows `begin` to `end` together. */
  sum(keys: readonly string[], begin: number, end: number): number {
    let total = 0;
    for (let at = begin; at < end; at += 1) total += this.of(keys[at]!);
    return total;
  }
}

/** The rows that lie between `top` and `bottom`. */
export function rowsBetween(keys: readonly string[], heights: Heights, top: number, bottom: number): Span {
  let below = 0;
  let begin = -1;
  let end = 0;
  for (let at = 0; at < keys.length; at += 1) {
    const above = below;
    below += heights.of(keys[at]!);
    if (begin < 0 && below > top) begin = at;
    if (above >= bottom) break;
    end = at + 1;
  }
  return begin < 0 ? { begin: Math.max(0, keys.length - 1), end: keys.length } : { begin, end: Math.max(end, begin + 1) };
}

/**
 * The rows to be drawn next, on the way from `now` to `wanted`: at most `most` new ones, those in view first, so that no
 * frame is long.
 */
export function nextSpan(now: Span, wanted: Span, inView: Span, most: number): Span {
  const kept = { begin: Math.max(now.begin, wanted.begin), end: Math.min(now.end, wanted.end) };
  if (kept.begin >= kept.end) return { begin: inView.begin, end: Math.min(inView.end, inView.begin + most) };
  let left = most;
  const grow = (to: Span): void => {
    const down = Math.min(left, Math.max(0, to.end - kept.end));
    kept.end += down;
    left -= down;
    const up = Math.min(left, Math.max(0, kept.begin - to.begin));
    kept.begin -= up;
    left -= up;
  };
  grow(inView);
  grow(wanted);
  return kept;
}
