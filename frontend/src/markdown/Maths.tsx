import { memo, useLayoutEffect, useRef, useState } from 'react';
import type { Formula } from './formulas';

type Typeset = typeof import('../maths/typeset').typeset;

let ready: Typeset | null = null;
let loading: Promise<Typeset> | null = null;

/** What sets formulas, loaded once; a load that failed is tried again by the next formula. */
function load(): Promise<Typeset> {
  loading ??= import('../maths/typeset').then(
    (chunk) => (ready = chunk.typeset),
    (error: unknown) => {
      loading = null;
      throw error;
    },
  );
  return loading;
}

/** A formula; until it is set, and where it cannot be, its source. */
export const Maths = memo(function Maths({ tex, display }: Formula) {
  const box = useRef<HTMLSpanElement>(null);
  const [plain, setPlain] = useState(ready === null);
  useLayoutEffect(() => {
    let gone = false;
    const draw = (typeset: Typeset): void => {
      if (gone || !box.current) return;
      try {
        typeset(tex, display, box.current);
        setPlain(false);
      } catch {
        box.current.textContent = tex;
        setPlain(true);
      }
    };
    if (ready) draw(ready);
    else load().then(draw, () => undefined);
    return () => {
      gone = true;
    };
  }, [tex, display]);
  return (
    <span
      ref={box}
      className={display ? 'maths display' : 'maths'}
      data-testid="maths"
      data-plain={plain}
      tabIndex={display ? 0 : undefined}
      role={display ? 'group' : undefined}
    >
      {tex}
    </span>
  );
});
