import type { Thread } from '../chat/thread';
import type { MessageKey } from '../i18n/catalog';
import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { useApp } from './context';
import { focusComposer } from './useShortcuts';

const EXAMPLES: [MessageKey, MessageKey][] = [
  ['empty.example1.title', 'empty.example1.text'],
  ['empty.example2.title', 'empty.example2.text'],
  ['empty.example3.title', 'empty.example3.text'],
  ['empty.example4.title', 'empty.example4.text'],
];

/** A new conversation: whom one talks to, and questions to begin with (put into the field, not sent). */
export function EmptyState({ thread }: { thread: Thread }) {
  const app = useApp();
  const t = useT();
  const { items, phase } = useObservable(app.agents);
  const chosen = useObservable(app.agent);
  if (phase === 'loading') return <div className="flex-1" />;
  if (items.length === 0) return <NoAgents failed={phase === 'failed'} />;
  const agent = items.find((item) => item.slug === chosen);
  return (
    <div className="empty" data-testid="empty-state">
      <h2 className="text-[1.625rem] leading-tight font-semibold tracking-[-0.015em] text-balance">
        {t('empty.title')}
      </h2>
      {agent && (
        <p className="mt-2 max-w-[60ch] text-soft text-pretty">{agent.description || agent.name}</p>
      )}
      <h3 className="sr-only">{t('empty.examples')}</h3>
      <ul className="mt-7 grid gap-2.5 sm:grid-cols-2">
        {EXAMPLES.map(([title, text]) => (
          <li key={title}>
            <button
              type="button"
              className="example"
              data-testid="example"
              onClick={() => {
                thread.draft.set(t(text));
                focusComposer();
              }}
            >
              <span className="block font-medium">{t(title)}</span>
              <span className="mt-0.5 block text-[0.8125rem] leading-snug text-soft">{t(text)}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

function NoAgents({ failed }: { failed: boolean }) {
  const app = useApp();
  const t = useT();
  return (
    <div className="empty" data-testid="empty-state">
      <h2 className="text-xl font-semibold">{failed ? t('empty.agentsFailed') : t('empty.noAgents')}</h2>
      {failed ? (
        <button type="button" className="remedy mt-3" onClick={() => void app.loadAgents()}>
          {t('message.retry')}
        </button>
      ) : (
        <p className="mt-2 max-w-[60ch] text-soft">
          {t('empty.noAgentsHint', { tenant: app.shell.tenantName })}
        </p>
      )}
    </div>
  );
}
