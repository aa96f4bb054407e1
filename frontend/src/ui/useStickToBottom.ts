import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';

/** So near to the end counts as the end. */
const NEAR = 32;
/** From here on the way back is worth a button. */
const FAR = 160;

interface Stick {
  scroller: RefObject<HTMLDivElement | null>;
  content: RefObject<HTMLDivElement | null>;
  /** The end is kept in view. */
  stuck: RefObject<boolean>;
  /** The reader is elsewhere. */
  away: boolean;
  jump: () => void;
}

/** Keeps the end of growing content in view until the reader scrolls up, and again when they are back at the end. */
export function useStickToBottom(): Stick {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const stuck = useRef(true);
  const [away, setAway] = useState(false);

  const toEnd = useCallback((behavior: ScrollBehavior = 'instant') => {
    const box = scroller.current;
    box?.scrollTo({ top: box.scrollHeight, behavior });
  }, []);

  const jump = useCallback(() => {
    stuck.current = true;
    setAway(false);
    toEnd();
  }, [toEnd]);

  useLayoutEffect(() => toEnd(), [toEnd]);

  useEffect(() => {
    const box = scroller.current;
    const inner = content.current;
    if (!box || !inner) return;
    let top = box.scrollTop;
    let height = box.scrollHeight;
    const distance = (): number => box.scrollHeight - box.scrollTop - box.clientHeight;
    const show = (): void => setAway(!stuck.current && distance() > FAR);
    const note = (): void => {
      top = box.scrollTop;
      height = box.scrollHeight;
    };
    const onScroll = (): void => {
      // Content that became shorter moves the position too; that is not the reader.
      const up = box.scrollTop < top - 1 && box.scrollHeight >= height;
      if (up) stuck.current = false;
      else if (distance() < NEAR) stuck.current = true;
      note();
      show();
    };
    const grown = new ResizeObserver(() => {
      if (stuck.current) toEnd();
      else show();
      // Its scroll event comes later, when the content may have grown again; by then this is where the reader was.
      note();
    });
    grown.observe(inner);
    grown.observe(box);
    box.addEventListener('scroll', onScroll, { passive: true });
    return () => {
      grown.disconnect();
      box.removeEventListener('scroll', onScroll);
    };
  }, [toEnd]);

  return { scroller, content, stuck, away, jump };
}
