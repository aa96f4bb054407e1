import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { useApp } from './context';
import { ChevronIcon } from './icons';

/** Whom a new conversation is with; only where there is a choice. */
export function AgentSelect() {
  const app = useApp();
  const t = useT();
  const { items } = useObservable(app.agents);
  const chosen = useObservable(app.agent);
  if (items.length < 2) return null;
  return (
    <label className="agent-select">
      <span className="sr-only">{t('composer.agent')}</span>
      <select
        data-testid="agent-select"
        value={chosen ?? ''}
        onChange={(event) => app.agent.set(event.target.value)}
      >
        {items.map((agent) => (
          <option key={agent.slug} value={agent.slug}>
            {agent.name}
          </option>
        ))}
      </select>
      <span className="rotate-90" aria-hidden="true">
        <ChevronIcon size={13} />
      </span>
    </label>
  );
}
