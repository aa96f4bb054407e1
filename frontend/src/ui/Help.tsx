import { useEffect, useRef } from 'react';
import { useT } from '../i18n/language';
import { CloseIcon } from './icons';
import { keysOf, SHORTCUTS } from './useShortcuts';

/** The keys that do something here; the browser keeps the focus inside and gives it back. */
export function Help({ open, onClose }: { open: boolean; onClose: () => void }) {
  const t = useT();
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) box.current?.showModal();
    else box.current?.close();
  }, [open]);
  return (
    <dialog
      ref={box}
      className="help"
      data-testid="help"
      aria-labelledby="help-title"
      onClose={onClose}
      onClick={(event) => event.target === event.currentTarget && onClose()}
    >
      <div className="help-head">
        <h2 id="help-title">{t('keys.title')}</h2>
        <button type="button" className="icon-button small" aria-label={t('app.close')} onClick={onClose}>
          <CloseIcon size={14} />
        </button>
      </div>
      <dl>
        {(Object.keys(SHORTCUTS) as (keyof typeof SHORTCUTS)[]).map((name) => (
          <div key={name}>
            <dt>{t(SHORTCUTS[name].label)}</dt>
            <dd>
              <kbd>{keysOf(name)}</kbd>
            </dd>
          </div>
        ))}
        <div>
          <dt>{t('composer.hint')}</dt>
          <dd>
            <kbd>Enter</kbd>
          </dd>
        </div>
        <div>
          <dt>{t('keys.item')}</dt>
          <dd>
            <kbd>F2</kbd> <kbd>Del</kbd>
          </dd>
        </div>
      </dl>
    </dialog>
  );
}
