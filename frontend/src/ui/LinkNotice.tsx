import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { useApp } from './context';

/** Above the composer while there is no connection: what that means for whoever writes, and a way to try at once. */
export function LinkNotice() {
  const app = useApp();
  const t = useT();
  const { status } = useObservable(app.line.state);
  if (status !== 'offline' && status !== 'reconnecting') return null;
  return (
    <div className="link-notice appear-late" role="status" data-testid="link-notice" data-state={status}>
      <span className="min-w-0 flex-1">{t(status === 'offline' ? 'line.offlineHint' : 'line.reconnectingHint')}</span>
      <button type="button" className="link-button" onClick={() => app.line.wake()}>
        {t('line.tryNow')}
      </button>
    </div>
  );
}
