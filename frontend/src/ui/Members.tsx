import { useSpeech, useT } from '../i18n/language';
import { Markdown } from '../markdown/Markdown';
import { type Member, parentOf, type Work } from '../run/work';
import { CopyButton } from './CopyButton';
import { Fold } from './Fold';
import { durationText } from './format';
import { Reasoning } from './Reasoning';
import { ToolCalls } from './ToolCalls';

/** What was done at a path: the calls of tools, and the members of the team with theirs. */
export function WorkAt({ work, path }: { work: Work; path: string }) {
  const members = work.members.filter((member) => parentOf(member.path) === path);
  return (
    <>
      <ToolCalls calls={work.tools.filter((call) => call.path === path)} />
      {members.map((member) => (
        <MemberFold key={member.path} member={member} work={work} />
      ))}
    </>
  );
}

function MemberFold({ member, work }: { member: Member; work: Work }) {
  const t = useT();
  return (
    <Fold testId="member" summary={<MemberLine member={member} />}>
      {() => (
        <>
          {member.task !== '' && (
            <p className="mb-2 text-xs whitespace-pre-wrap text-faint" dir="auto">
              {t('member.task')}: {member.task}
            </p>
          )}
          {member.reasoning !== '' && <Reasoning text={member.reasoning} live={!member.done && member.text === ''} />}
          <WorkAt work={work} path={member.path} />
          {member.text !== '' && (
            <div className="member-text">
              <Markdown source={member.text} live={!member.done} />
              {member.done && <CopyButton text={member.text} label={t('message.copy')} />}
            </div>
          )}
          {member.error && <p className="text-danger">{member.error}</p>}
        </>
      )}
    </Fold>
  );
}

function MemberLine({ member }: { member: Member }) {
  const { t, language } = useSpeech();
  const { name, done, error, durationMs } = member;
  const label = error !== null ? 'member.failed' : done ? 'member.done' : 'member.working';
  return (
    <>
      <span className={done ? undefined : 'shimmer'} data-failed={error !== null}>
        {t(label, { name })}
      </span>
      {done && durationMs !== null && <span className="text-faint">· {durationText(durationMs, t, language)}</span>}
    </>
  );
}
