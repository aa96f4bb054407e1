import { type FormEvent, useId, useState } from 'react';
import type { Entry } from '../chat/entry';
import type { Thread } from '../chat/thread';
import { useT } from '../i18n/language';
import { ThumbDownIcon, ThumbUpIcon } from './icons';

const MOST_CHARS = 2000;
const THUMBS = [
  ['up', 'feedback.up', ThumbUpIcon],
  ['down', 'feedback.down', ThumbDownIcon],
] as const;

/** Two thumbs under a stored answer; a chosen one opens a field for a few words, and chosen again it is taken back. */
export function Thumbs({ entry, thread }: { entry: Entry; thread: Thread }) {
  const t = useT();
  const field = useId();
  const [open, setOpen] = useState(false);
  const [words, setWords] = useState('');
  const { feedback } = entry;
  if (entry.id === null) return null;
  const choose = (rating: 'up' | 'down'): void => {
    const taken = feedback?.rating === rating;
    setOpen(!taken);
    setWords(taken ? '' : (feedback?.comment ?? ''));
    void thread.rate(entry, taken ? null : { rating, comment: feedback?.comment ?? '' });
  };
  const send = (event: FormEvent): void => {
    event.preventDefault();
    if (feedback === null) return;
    void thread.rate(entry, { rating: feedback.rating, comment: words.trim() }).then((done) => done && setOpen(false));
  };
  return (
    <>
      <span role="group" aria-label={t('feedback.label')} data-testid="feedback">
        {THUMBS.map(([rating, label, Icon]) => (
          <button
            key={rating}
            type="button"
            className="quiet-button thumb"
            data-testid={`feedback-${rating}`}
            aria-pressed={feedback?.rating === rating}
            aria-label={t(label)}
            title={t(label)}
            onClick={() => choose(rating)}
          >
            <Icon />
          </button>
        ))}
      </span>
      {open && feedback !== null && (
        <form className="feedback-words" onSubmit={send}>
          <label className="sr-only" htmlFor={field}>
            {t('feedback.words')}
          </label>
          <input
            id={field}
            type="text"
            value={words}
            maxLength={MOST_CHARS}
            placeholder={t('feedback.words')}
            data-testid="feedback-words"
            onChange={(event) => setWords(event.target.value)}
            onKeyDown={(event) => event.key === 'Escape' && setOpen(false)}
          />
          <button type="submit" className="text-button">
            {t('feedback.send')}
          </button>
        </form>
      )}
    </>
  );
}
