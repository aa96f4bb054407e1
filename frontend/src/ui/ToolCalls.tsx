import { useContext } from 'react';
import { useSpeech, useT } from '../i18n/language';
import type { Approval, ToolCall } from '../run/work';
import { AnswerSources, Passage } from './Cite';
import { CopyButton } from './CopyButton';
import { useApp } from './context';
import { Fold } from './Fold';
import { durationText } from './format';

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

/** Calls of tools, each folded with what it was given and what it gave back. */
export function ToolCalls({ calls }: { calls: readonly ToolCall[] }) {
  return calls.map((call, index) => <Call key={index} call={call} />);
}

function Call({ call }: { call: ToolCall }) {
  const t = useT();
  const { approval } = call;
  return (
    <Fold testId="tool-call" summary={<CallLine call={call} />}>
      {() => (
        <>
          {approval?.decision && (
            <p className="mb-1 text-xs">
              <Verdict approval={approval} />
            </p>
          )}
          <Part label={t('tool.arguments')} value={call.arguments} testId="tool-input" />
          <Passages call={call} />
          {call.done && call.error === null && (
            <Part label={t('tool.result')} value={call.result ?? ''} testId="tool-output" />
          )}
          {call.error !== null && <Part label={t('tool.error')} value={call.error} testId="tool-output" bad />}
        </>
      )}
    </Fold>
  );
}

/** What a search has found, and why; the model was shown the same, see the result. */
function Passages({ call }: { call: ToolCall }) {
  const t = useT();
  const all = useContext(AnswerSources);
  const found = all.filter((source) => source.call_id === call.callId && (source.path ?? '') === call.path);
  if (found.length === 0) return null;
  return (
    <ol className="passages" aria-label={t('source.found')} data-testid="passages">
      {found.map((source) => (
        <li key={source.n}>
          <Passage source={source} why />
        </li>
      ))}
    </ol>
  );
}

function CallLine({ call }: { call: ToolCall }) {
  const { t, language } = useSpeech();
  const { approval, name } = call;
  const waits = approval !== null && approval.decision === null;
  const label = waits
    ? 'tool.waits'
    : call.error !== null
      ? 'tool.failed'
      : call.done
        ? 'tool.done'
        : 'tool.running';
  return (
    <>
      <span className={call.done || waits ? undefined : 'shimmer'} data-failed={call.error !== null}>
        {t(label, { name })}
      </span>
      {call.done && call.durationMs !== null && (
        <span className="text-faint">· {durationText(call.durationMs, t, language)}</span>
      )}
      {call.tainted && (
        <span className="badge" title={t('tool.outsideHint')}>
          {t('tool.outside')}
        </span>
      )}
    </>
  );
}

/** What was decided on a call, by whom, with which words. */
export function Verdict({ approval }: { approval: Pick<Approval, 'decision' | 'by' | 'note'> }) {
  const t = useT();
  const { userId } = useApp().shell;
  const { decision, by, note } = approval;
  if (decision === null) return null;
  if (decision === 'expired') return t('approval.expired');
  const mine = by === userId;
  const key = decision === 'approved'
    ? mine ? 'approval.approvedByYou' : 'approval.approvedByAdmin'
    : mine ? 'approval.deniedByYou' : 'approval.deniedByAdmin';
  return (
    <>
      {t(key)}
      {note !== '' && <q className="ml-1.5 text-faint">{note}</q>}
    </>
  );
}

function Part({ label, value, testId, bad = false }: { label: string; value: unknown; testId: string; bad?: boolean }) {
  const t = useT();
  const text = shown(value);
  return (
    <div className="part" data-bad={bad}>
      <div className="part-head">
        <span>{label}</span>
        {text !== '' && <CopyButton text={text} label={t('tool.copy', { part: label })} />}
      </div>
      <pre tabIndex={0} data-testid={testId} aria-label={label}>
        {text}
      </pre>
    </div>
  );
}
