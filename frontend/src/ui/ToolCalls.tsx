import { useT } from '../i18n/language';
import type { ToolCall } from '../run/reducer';
import { ChevronIcon } from './icons';

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

/** The tools that an answer used, each folded with what it was given and what it gave back. */
export function ToolCalls({ calls }: { calls: readonly ToolCall[] }) {
  return calls.map((call) => <Call key={call.callId} call={call} />);
}

function Call({ call }: { call: ToolCall }) {
  const t = useT();
  const failed = call.error !== null && call.error !== undefined;
  const label = failed ? 'tool.failed' : call.done ? 'tool.done' : 'tool.running';
  return (
    <details className="fold" data-testid="tool-call">
      <summary>
        <ChevronIcon size={14} />
        <span className={call.done ? undefined : 'shimmer'}>{t(label, { name: call.name })}</span>
      </summary>
      <div className="fold-body">
        <Part label={t('tool.arguments')} value={call.arguments} />
        {call.done && <Part label={t(failed ? 'tool.error' : 'tool.result')} value={failed ? call.error : call.result} />}
      </div>
    </details>
  );
}

function Part({ label, value }: { label: string; value: unknown }) {
  return (
    <div className="mt-1 first:mt-0">
      <div className="text-xs text-faint">{label}</div>
      <pre tabIndex={0} className="max-h-60 overflow-auto font-mono text-xs whitespace-pre-wrap">
        {shown(value)}
      </pre>
    </div>
  );
}
