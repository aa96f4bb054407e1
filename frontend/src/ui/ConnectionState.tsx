import type { MessageKey } from '../i18n/catalog';
import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { useApp } from './context';

/** A dot while all is well; words when it is not. */
export function ConnectionState() {
  const app = useApp();
  const t = useT();
  const { status, mode } = useObservable(app.line.state);
  const key: MessageKey = status === 'online' && mode === 'sse' ? 'line.sse' : `line.${status}`;
  const quiet = status === 'online';
  return (
    <div
      className="connection"
      role="status"
      data-testid="connection-state"
      data-state={status}
      data-mode={mode}
      title={t(key)}
    >
      <span className="connection-dot" aria-hidden="true" />
      <span className={quiet ? 'sr-only' : 'appear-late'}>{t(key)}</span>
    </div>
  );
}
