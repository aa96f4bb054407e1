import { type RefObject, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { flushSync } from 'react-dom';
import { Heights, nextSpan, rowsBetween, type Span } from './rows';

/** So few rows are all drawn: the browser's own search finds them, and a selection may reach from one end to the other. */
const ALL = 40;
/** How far beyond the view rows are drawn, in pixels. */
const BEYOND = 900;
/** What new rows of one frame may cost, in milliseconds, and how many there are at most. */
const FRAME_MS = 8;
const MOST_ROWS = 5;
/** A row that is asked for is not at its place before those above it have been measured. */
const SETTLE_FRAMES = 12;

export interface Rows {
  /** The indices of the rows to draw, in order. */
  drawn: readonly number[];
  /** The height of the rows between two drawn ones, or before the first and behind the last. */
  gap: (begin: number, end: number) => number;
  /** Given to every drawn row; which one it is, its `data-row` says. */
  watch: (row: HTMLElement | null) => (() => void) | undefined;
  /** Brings a row into view. */
  reveal: (key: string) => void;
}

interface Options {
  keys: readonly string[];
  scroller: RefObject<HTMLElement | null>;
  /** The end is kept in view: nothing above it is held in its place. */
  stuck: RefObject<boolean>;
  guess: (key: string) => number;
}

/** Draws those rows of a long list that are in view or near it, and keeps what is looked at in its place. */
export function useRows({ keys, scroller, stuck, guess }: Options): Rows {
  const heights = useMemo(() => new Heights(guess), [guess]);
  const [span, setSpan] = useState<Span>(() => ({ begin: Math.max(0, keys.length - MOST_ROWS), end: keys.length }));
  const now = useRef({ keys, span, most: 2, frame: 0 });
  now.current.keys = keys;
  now.current.span = span;
  const all = keys.length <= ALL;

  const step = useCallback(() => {
    const { keys: rows, span: drawn } = now.current;
    now.current.frame = 0;
    const box = scroller.current;
    if (!box || rows.length <= ALL) return;
    const top = box.scrollTop;
    const bottom = top + box.clientHeight;
    const inView = rowsBetween(rows, heights, top, bottom);
    const wanted = rowsBetween(rows, heights, top - BEYOND, bottom + BEYOND);
    const next = nextSpan(drawn, wanted, inView, now.current.most);
    if (next.begin === drawn.begin && next.end === drawn.end) return;
    const added = Math.max(0, drawn.begin - next.begin) + Math.max(0, next.end - drawn.end) || next.end - next.begin;
    const began = performance.now();
    flushSync(() => setSpan(next));
    const each = (performance.now() - began) / added;
    now.current.most = Math.max(1, Math.min(MOST_ROWS, Math.floor(FRAME_MS / Math.max(each, 0.5))));
    if (next.begin > wanted.begin || next.end < wanted.end) now.current.frame = requestAnimationFrame(step);
  }, [heights, scroller]);

  const soon = useCallback(() => {
    if (now.current.frame === 0) now.current.frame = requestAnimationFrame(step);
  }, [step]);

  useEffect(() => {
    const box = scroller.current;
    if (!box) return;
    box.addEventListener('scroll', soon, { passive: true });
    return () => {
      box.removeEventListener('scroll', soon);
      cancelAnimationFrame(now.current.frame);
      now.current.frame = 0;
    };
  }, [scroller, soon]);
  useLayoutEffect(soon, [soon, keys]);

  const observer = useRef<ResizeObserver | null>(null);
  const watch = useCallback((row: HTMLElement | null) => {
    if (!row) return undefined;
    observer.current ??= new ResizeObserver((changes) => {
      const box = scroller.current;
      let above = 0;
      for (const { target, borderBoxSize } of changes) {
        const { row: key } = (target as HTMLElement).dataset;
        if (!box || key === undefined || !target.isConnected) continue;
        const isNew = !heights.knows(key);
        const more = heights.learn(key, borderBoxSize[0]?.blockSize ?? (target as HTMLElement).offsetHeight);
        // What lies above the view, or is drawn anew into its upper edge, has pushed the view: it is put back unseen.
        const { top, bottom } = target.getBoundingClientRect();
        if ((isNew ? top : bottom) < box.getBoundingClientRect().top) above += more;
      }
      if (box && above !== 0 && !stuck.current && now.current.keys.length > ALL) box.scrollTop += above;
      soon();
    });
    const watching = observer.current;
    watching.observe(row);
    return () => watching.unobserve(row);
  }, [heights, scroller, stuck, soon]);

  const reveal = useCallback((key: string) => {
    stuck.current = false;
    let frames = SETTLE_FRAMES;
    const bring = (): void => {
      const box = scroller.current;
      const { keys: rows } = now.current;
      const index = rows.indexOf(key);
      // The reader has gone to the end meanwhile.
      if (!box || index < 0 || stuck.current) return;
      const row = box.querySelector(`[data-row="${CSS.escape(key)}"]`);
      if (row) row.scrollIntoView({ block: 'center' });
      else box.scrollTop = heights.sum(rows, 0, index);
      frames -= 1;
      if (frames > 0) requestAnimationFrame(bring);
    };
    bring();
  }, [heights, scroller, stuck]);

  const drawn = useMemo(() => {
    if (all) return keys.map((_, index) => index);
    // While the end is kept in view, what comes to it is drawn at once.
    const begin = Math.min(span.begin, Math.max(0, keys.length - 1));
    const end = stuck.current ? keys.length : Math.min(span.end, keys.length);
    const indices = new Set(Array.from({ length: Math.max(0, end - begin) }, (_, at) => begin + at));
    for (const index of held(scroller.current, keys)) indices.add(index);
    return [...indices].sort((one, other) => one - other);
  }, [all, keys, span, scroller, stuck]);
  const gap = useCallback((begin: number, end: number) => heights.sum(keys, begin, end), [heights, keys]);
  return { drawn, gap, watch, reveal };
}

/** Rows that stay although nobody sees them: with the focus in them (a message that is being edited), or selected. */
function held(box: HTMLElement | null, keys: readonly string[]): number[] {
  if (!box) return [];
  const indexOf = (node: Node | null): number => {
    const element = node instanceof Element ? node : (node?.parentElement ?? null);
    const key = box.contains(element) ? element?.closest<HTMLElement>('[data-row]')?.dataset.row : undefined;
    return key === undefined ? -1 : keys.indexOf(key);
  };
  const found = [indexOf(document.activeElement)];
  const selection = getSelection();
  if (selection && !selection.isCollapsed) {
    const ends = [indexOf(selection.anchorNode), indexOf(selection.focusNode)].sort((one, other) => one - other);
    if (ends[0]! >= 0) for (let at = ends[0]!; at <= ends[1]!; at += 1) found.push(at);
  }
  return found.filter((index) => index >= 0);
}
