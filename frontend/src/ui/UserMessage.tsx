import { memo } from 'react';
import type { Entry } from '../chat/entry';
import { useT } from '../i18n/language';

export const UserMessage = memo(function UserMessage({ entry }: { entry: Entry }) {
  const t = useT();
  return (
    <article className="flex justify-end pb-6" data-testid="message-user" data-status={entry.status}>
      <h2 className="sr-only">{t('message.you')}</h2>
      <p className="bubble" dir="auto">
        {entry.content}
      </p>
    </article>
  );
});
