import { createContext, useContext, useEffect, useId, useRef, useState } from 'react';
import type { Source } from '../api/contract';
import { passageUrl, pictureUrl, sourceOf } from '../chat/sources';
import type { Translate } from '../i18n/catalog';
import { useT } from '../i18n/language';

/** The passages that the answer around was written from. */
export const AnswerSources = createContext<readonly Source[]>([]);

/** How wide the card is at most, and how far it stays from the window's edges, in pixels. */
const CARD = 352;
const EDGE = 8;
/** On the way from the number to the card the pointer is over neither. */
const LEAVE_MS = 180;

/** Where in the document a passage is. */
export function placeText(t: Translate, { page, heading }: Source): string {
  return [page === null ? '' : t('source.page', { page }), heading].filter(Boolean).join(' · ');
}

/** Why a passage was found. */
export function whyText(t: Translate, source: Source): string {
  const { vector_rank: near, keyword_rank: words, score } = source;
  return [
    near ? t('source.near', { rank: near }) : '',
    words ? t('source.words', { rank: words }) : '',
    t('source.score', { score: score.toFixed(2) }),
  ].filter(Boolean).join(' · ');
}

/** `[n]` of an answer: the number of a source, with a card that shows the passage; plain text where there is none. */
export function Cite({ n }: { n: number }) {
  const source = sourceOf(useContext(AnswerSources), n);
  return source ? <Chip source={source} /> : `[${n}]`;
}

function Chip({ source }: { source: Source }) {
  const t = useT();
  const card = useId();
  const box = useRef<HTMLSpanElement>(null);
  const leaving = useRef<ReturnType<typeof setTimeout>>(undefined);
  const [at, setAt] = useState<Place | null>(null);
  const open = (): void => {
    clearTimeout(leaving.current);
    if (box.current) setAt(placeOf(box.current));
  };
  const leave = (): void => {
    clearTimeout(leaving.current);
    leaving.current = setTimeout(() => setAt(null), LEAVE_MS);
  };
  const shown = at !== null;
  // It stays beside its number while the text moves, and goes with it.
  useEffect(() => {
    if (!shown) return;
    const follow = (): void => {
      const { top = -1, bottom = 0 } = box.current?.getBoundingClientRect() ?? {};
      setAt(box.current && bottom > 0 && top < window.innerHeight ? placeOf(box.current) : null);
    };
    document.addEventListener('scroll', follow, { capture: true, passive: true });
    return () => document.removeEventListener('scroll', follow, { capture: true });
  }, [shown]);
  useEffect(() => () => clearTimeout(leaving.current), []);
  return (
    <span
      ref={box}
      className="cite-box"
      onPointerEnter={(event) => event.pointerType === 'mouse' && open()}
      onPointerLeave={(event) => event.pointerType === 'mouse' && leave()}
      onBlur={(event) => !event.currentTarget.contains(event.relatedTarget) && setAt(null)}
      onKeyDown={(event) => {
        if (event.key !== 'Escape' || !shown) return;
        event.preventDefault();
        setAt(null);
        box.current?.querySelector('button')?.focus();
      }}
    >
      <button
        type="button"
        className="cite"
        data-testid="cite"
        aria-expanded={shown}
        aria-controls={shown ? card : undefined}
        aria-label={t('source.open', { n: source.n, title: source.title })}
        onClick={() => (shown ? setAt(null) : open())}
      >
        {source.n}
      </button>
      {at && (
        <span id={card} className="cite-card" data-testid="cite-card" style={at} onPointerEnter={open}>
          <Passage source={source} />
        </span>
      )}
    </span>
  );
}

type Place = { left: number; width: number } & ({ top: number } | { bottom: number });

/** Below the number, or above it where there is more room. */
function placeOf(box: HTMLElement): Place {
  const { left, top, bottom } = box.getBoundingClientRect();
  const width = Math.min(CARD, window.innerWidth - 2 * EDGE);
  const across = { left: Math.max(EDGE, Math.min(left, window.innerWidth - width - EDGE)), width };
  return bottom > window.innerHeight * 0.6
    ? { ...across, bottom: window.innerHeight - top + 4 }
    : { ...across, top: bottom + 4 };
}

/** A passage: where it stands, its beginning, and the way to it. Inline elements only: it may stand in a paragraph. */
export function Passage({ source, why = false }: { source: Source; why?: boolean }) {
  const t = useT();
  const place = placeText(t, source);
  const picture = pictureUrl(source);
  const [gone, setGone] = useState(false);
  return (
    <>
      <span className="passage-title">
        <span className="cite still" aria-hidden="true">{source.n}</span>
        <span className="min-w-0">{source.title}</span>
      </span>
      {place !== '' && <span className="passage-place">{place}</span>}
      <q className="passage-quote" dir="auto">{source.quote}</q>
      {picture !== null && !gone && (
        <a className="passage-picture" href={passageUrl(source)} target="_blank" rel="noopener" tabIndex={-1}>
          <img src={picture} alt={t('source.picture', { page: source.page ?? '' })} loading="lazy" onError={() => setGone(true)} />
        </a>
      )}
      {why && <span className="passage-place" data-testid="passage-why">{whyText(t, source)}</span>}
      <a className="link-button" data-testid="cite-open" href={passageUrl(source)} target="_blank" rel="noopener">
        {t('source.read')}
      </a>
    </>
  );
}
