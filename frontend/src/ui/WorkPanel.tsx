import { memo, useState } from 'react';
import type { TraceCount } from '../api/contract';
import { Failure } from '../api/failure';
import type { Translate } from '../i18n/catalog';
import { useSpeech, useT } from '../i18n/language';
import { workOf } from '../run/trace';
import type { Work } from '../run/work';
import { useApp } from './context';
import { failureText } from './FailureNotice';
import { Fold } from './Fold';
import { durationText } from './format';
import { WorkAt } from './Members';

interface WorkPanelProps extends Work {
  /** The answer is still being written. */
  live: boolean;
}

/** What an answer's run did besides writing: one line, which opens. Text that comes does not draw it again. */
export const WorkPanel = memo(function WorkPanel({ tools, members, live }: WorkPanelProps) {
  const { t, language } = useSpeech();
  const now = live ? present({ tools, members }, t) : null;
  const spent = members.length > 0 ? 0 : tools.reduce((sum, call) => sum + (call.durationMs ?? 0), 0);
  return (
    <Fold
      testId="work"
      summary={
        <>
          <span className={now === null ? undefined : 'shimmer'}>{now ?? counted(t, tools, members)}</span>
          {now === null && spent > 0 && <span className="text-faint">· {durationText(spent, t, language)}</span>}
        </>
      }
    >
      {() => <WorkAt work={{ tools, members }} path="" />}
    </Fold>
  );
});

/** What is being done right now; null: nothing but writing. */
function present({ tools, members }: Work, t: Translate): string | null {
  const call = tools.findLast((one) => !one.done);
  if (call) return t(call.approval?.decision === null ? 'tool.waits' : 'tool.running', { name: call.name });
  const member = members.findLast((one) => !one.done);
  return member ? t('member.working', { name: member.name }) : null;
}

function counted(t: Translate, tools: Work['tools'], members: Work['members']): string {
  if (tools.length === 1 && members.length === 0) {
    return t(tools[0]!.error === null ? 'tool.done' : 'tool.failed', { name: tools[0]!.name });
  }
  return countText(t, tools.length, members.length);
}

function countText(t: Translate, tools: number, members: number): string {
  const used = tools === 1 ? t('work.tool') : t('work.tools', { count: tools });
  if (members === 0) return used;
  const worked = members === 1 ? t('work.member') : t('work.members', { count: members });
  return tools === 0 ? worked : `${worked} · ${used}`;
}

/** The same of a run that is stored: its steps are read when somebody opens it. */
export function StoredWorkPanel({ trace }: { trace: TraceCount }) {
  const app = useApp();
  const t = useT();
  const [work, setWork] = useState<(Work & { cut: boolean }) | Failure | null>(null);
  const load = (): void => {
    setWork(null);
    if (trace.tools > 0) app.sources.load(trace.run_id);
    app.api.trace(trace.run_id).then(
      (found) => setWork({ ...workOf(found), cut: found.cut }),
      (error) => setWork(app.fail(Failure.from(error))),
    );
  };
  return (
    <Fold
      testId="work"
      summary={countText(t, trace.tools, trace.members)}
      onOpen={() => (work === null || work instanceof Failure) && load()}
    >
      {() => {
        if (work === null) return <p className="appear-late text-faint">{t('work.loading')}</p>;
        if (work instanceof Failure) return <Unread failure={work} onRetry={load} />;
        return (
          <>
            <WorkAt work={work} path="" />
            {work.cut && <p className="note">{t('work.cut')}</p>}
          </>
        );
      }}
    </Fold>
  );
}

function Unread({ failure, onRetry }: { failure: Failure; onRetry: () => void }) {
  const t = useT();
  return (
    <p role="alert">
      {failureText(t, failure.code)}{' '}
      <button type="button" className="link-button" onClick={onRetry}>
        {t('message.retry')}
      </button>
    </p>
  );
}
