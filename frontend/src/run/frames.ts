/** Runs a callback when the page next draws; a hidden page does not draw, so a timer stands in. */
export type FrameScheduler = (callback: () => void) => void;

const HIDDEN_MS = 250;

/** At most this share of the time goes into drawing a stream, so that a huge answer cannot freeze the page. */
const BUSY_SHARE = 0.4;

/** A stream is drawn no more often: text that grows thirty times a second flows, and every frame more would cost layout
 * and paint as well. The frame that comes next is waited for besides. */
const LEAST_MS = 25;

export function frameScheduler(): FrameScheduler {
  let earliest = 0;
  const draw = (callback: () => void): void => {
    const begin = performance.now();
    callback();
    // React renders a store's change in a microtask queued by the callback; this one runs after it.
    queueMicrotask(() => {
      const cost = performance.now() - begin;
      earliest = begin + Math.max(LEAST_MS, cost / BUSY_SHARE);
    });
  };
  return (callback) => {
    if (document.hidden) {
      setTimeout(callback, HIDDEN_MS);
      return;
    }
    const wait = earliest - performance.now();
    if (wait > 4) setTimeout(() => requestAnimationFrame(() => draw(callback)), wait);
    else requestAnimationFrame(() => draw(callback));
  };
}
