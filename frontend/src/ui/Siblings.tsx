import type { Entry } from '../chat/entry';
import type { Thread } from '../chat/thread';
import { useT } from '../i18n/language';
import { ChevronIcon } from './icons';

/** “‹ 2/3 ›”: the messages beside this one. Nothing where it stands alone. */
export function Siblings({ entry, thread }: { entry: Entry; thread: Thread }) {
  const t = useT();
  const all = entry.siblings ?? [];
  const at = entry.id === null ? -1 : all.indexOf(entry.id);
  if (all.length < 2 || at < 0) return null;
  const step = (by: 1 | -1): void => {
    const next = all[at + by];
    if (next === undefined) return;
    // The message is drawn anew; who came by keyboard stays on the same button.
    void thread.show(next).then(() => focusStep(next, by));
  };
  return (
    <span className="siblings" role="group" aria-label={t('branch.label')} data-testid="siblings">
      <button
        type="button"
        className="quiet-button back"
        data-testid="branch-previous"
        data-step="-1"
        disabled={at === 0}
        aria-label={t('branch.previous')}
        title={t('branch.previous')}
        onClick={() => step(-1)}
      >
        <ChevronIcon />
      </button>
      <span aria-label={t('branch.position', { number: at + 1, count: all.length })}>{`${at + 1}/${all.length}`}</span>
      <button
        type="button"
        className="quiet-button"
        data-testid="branch-next"
        data-step="1"
        disabled={at === all.length - 1}
        aria-label={t('branch.next')}
        title={t('branch.next')}
        onClick={() => step(1)}
      >
        <ChevronIcon />
      </button>
    </span>
  );
}

function focusStep(messageId: string, by: number): void {
  requestAnimationFrame(() => {
    const message = document.querySelector(`[data-message="${CSS.escape(messageId)}"]`);
    const same = message?.querySelector<HTMLButtonElement>(`[data-step="${by}"]:enabled`);
    (same ?? message?.querySelector<HTMLButtonElement>('[data-step]:enabled'))?.focus({ preventScroll: true });
  });
}
