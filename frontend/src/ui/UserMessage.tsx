import { type KeyboardEvent, memo, useLayoutEffect, useRef, useState } from 'react';
import type { Entry } from '../chat/entry';
import type { Thread } from '../chat/thread';
import { useT } from '../i18n/language';
import { FileChips } from './Attachments';
import { PencilIcon } from './icons';
import { Siblings } from './Siblings';

interface UserMessageProps {
  entry: Entry;
  thread: Thread;
  busy: boolean;
}

/** What the person said. It can be sent again with other words; the old ones stay beside it. */
export const UserMessage = memo(function UserMessage({ entry, thread, busy }: UserMessageProps) {
  const t = useT();
  const [editing, setEditing] = useState(false);
  const edit = useRef<HTMLButtonElement>(null);
  const mayChange = !busy && entry.id !== null;
  const close = (): void => {
    setEditing(false);
    requestAnimationFrame(() => edit.current?.focus({ preventScroll: true }));
  };
  return (
    <article
      className="group flex flex-col items-end pb-4"
      data-testid="message-user"
      data-status={entry.status}
      data-message={entry.id ?? undefined}
    >
      <h2 className="sr-only">{t('message.you')}</h2>
      {editing ? (
        <Editor entry={entry} thread={thread} busy={busy} onClose={close} />
      ) : (
        <>
          <p className="bubble" dir="auto">
            {entry.content}
          </p>
          <FileChips files={entry.files} conversationId={thread.id} />
          <div className="actions mine">
            {mayChange && <Siblings entry={entry} thread={thread} />}
            {mayChange && (
              <button
                ref={edit}
                type="button"
                className="quiet-button"
                data-testid="edit-message"
                aria-label={t('message.edit')}
                title={t('message.edit')}
                onClick={() => setEditing(true)}
              >
                <PencilIcon />
              </button>
            )}
          </div>
        </>
      )}
    </article>
  );
});

interface EditorProps extends UserMessageProps {
  onClose: () => void;
}

/** Enter sends, Shift+Enter makes a line, Esc leaves the message as it was. */
function Editor({ entry, thread, busy, onClose }: EditorProps) {
  const t = useT();
  const [text, setText] = useState(entry.content);
  const field = useRef<HTMLTextAreaElement>(null);
  const canSend = !busy && text.trim() !== '';
  useLayoutEffect(() => {
    const box = field.current;
    box?.focus();
    box?.setSelectionRange(box.value.length, box.value.length);
  }, []);
  const send = (): void => {
    if (canSend) void thread.resend(entry, text);
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    if (event.nativeEvent.isComposing || event.keyCode === 229) return;
    if (event.key === 'Escape') {
      event.preventDefault();
      event.stopPropagation();
      onClose();
    } else if (event.key === 'Enter' && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      send();
    }
  };
  return (
    <form
      className="composer editor"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={field}
        data-testid="edit-field"
        aria-label={t('message.editField')}
        rows={Math.min(10, Math.max(2, text.split('\n').length))}
        value={text}
        enterKeyHint="send"
        onChange={(event) => setText(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <div className="flex justify-end gap-2">
        <button type="button" className="remedy" data-testid="edit-cancel" onClick={onClose}>
          {t('message.editCancel')}
        </button>
        <button type="submit" className="remedy" data-testid="edit-send" disabled={!canSend}>
          {t('message.editSend')}
        </button>
      </div>
    </form>
  );
}
