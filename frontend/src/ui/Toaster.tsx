import { useEffect, useState } from 'react';
import type { Toast } from '../chat/toasts';
import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { useApp } from './context';
import { failureText } from './FailureNotice';
import { CloseIcon } from './icons';

const SHOWN_MS = 8000;

export function Toaster() {
  const app = useApp();
  const toasts = useObservable(app.toasts);
  return (
    <div className="toaster" role="region" aria-live="polite">
      {toasts.map((toast) => (
        <ToastCard key={toast.id} toast={toast} onClose={() => app.toasts.dismiss(toast.id)} />
      ))}
    </div>
  );
}

/** Leaves by itself, but not while it is pointed at or holds the focus. */
function ToastCard({ toast, onClose }: { toast: Toast; onClose: () => void }) {
  const t = useT();
  const [held, setHeld] = useState(false);
  useEffect(() => {
    if (held) return;
    const timer = setTimeout(onClose, SHOWN_MS);
    return () => clearTimeout(timer);
    // A new toast beside this one must not start its time again.
  }, [held]);
  return (
    <div
      className="toast"
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      <p className="line-clamp-2 min-w-0 flex-1">
        {t(toast.text.key, toast.text.values)} {toast.failure && failureText(t, toast.failure.code)}
      </p>
      {toast.undo && (
        <button
          type="button"
          className="toast-action"
          data-testid="undo"
          onClick={() => {
            toast.undo?.();
            onClose();
          }}
        >
          {t('toast.undo')}
        </button>
      )}
      <button type="button" className="toast-close" aria-label={t('app.dismiss')} onClick={onClose}>
        <CloseIcon size={14} />
      </button>
    </div>
  );
}
