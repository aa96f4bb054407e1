import { memo, useRef, useState } from 'react';
import type { Conversation } from '../api/contract';
import { conversationPath } from '../chat/route';
import { useT } from '../i18n/language';
import { useApp } from './context';
import { PencilIcon, PinIcon, TrashIcon } from './icons';

interface ConversationItemProps {
  conversation: Conversation;
  open: boolean;
  onOpen: () => void;
}

export const ConversationItem = memo(function ConversationItem({ conversation, open, onOpen }: ConversationItemProps) {
  const app = useApp();
  const t = useT();
  const [renaming, setRenaming] = useState(false);
  const title = conversation.title.trim() || t('list.untitled');
  const { id } = conversation;
  const pinned = Boolean(conversation.pinned_at);
  if (renaming) {
    return (
      <li data-testid="conversation-item" data-id={id}>
        <TitleField
          title={conversation.title}
          onDone={(next, byKey) => {
            setRenaming(false);
            if (next !== null && next !== conversation.title) void app.rename(id, next);
            if (byKey) focusItem(id);
          }}
        />
      </li>
    );
  }
  return (
    <li className="conversation-item" data-testid="conversation-item" data-id={id} data-open={open}>
      <a
        href={conversationPath(id)}
        data-conversation={id}
        aria-current={open ? 'page' : undefined}
        title={title}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
          event.preventDefault();
          app.route.go(id);
          onOpen();
        }}
        onKeyDown={(event) => {
          if (event.key === 'F2') setRenaming(true);
          else if (event.key === 'Delete') void app.remove(conversation);
        }}
      >
        <span className="truncate">{title}</span>
        {conversation.active_run_id !== null && (
          <span
            className="answering"
            role="img"
            data-testid={conversation.waiting ? 'conversation-waits' : undefined}
            data-waiting={conversation.waiting ?? false}
            aria-label={t(conversation.waiting ? 'list.waiting' : 'list.answering')}
            title={conversation.waiting ? t('list.waiting') : undefined}
          />
        )}
      </a>
      <span className="item-actions">
        <button
          type="button"
          className="icon-button small"
          data-testid="conversation-pin"
          aria-pressed={pinned}
          aria-label={t(pinned ? 'list.unpin' : 'list.pin', { title })}
          title={t(pinned ? 'list.unpin' : 'list.pin', { title })}
          onClick={() => void app.pin(id, !pinned)}
        >
          <PinIcon size={15} />
        </button>
        <button
          type="button"
          className="icon-button small"
          data-testid="conversation-rename"
          aria-label={t('list.rename', { title })}
          onClick={() => setRenaming(true)}
        >
          <PencilIcon size={15} />
        </button>
        <button
          type="button"
          className="icon-button small"
          data-testid="conversation-delete"
          aria-label={t('list.delete', { title })}
          onClick={() => void app.remove(conversation)}
        >
          <TrashIcon size={15} />
        </button>
      </span>
    </li>
  );
});

function focusItem(id: string): void {
  requestAnimationFrame(() => {
    document.querySelector<HTMLElement>(`a[data-conversation="${CSS.escape(id)}"]`)?.focus();
  });
}

interface TitleFieldProps {
  title: string;
  /** The new title, or null to keep the old one; `byKey`: the focus goes back to the conversation. */
  onDone: (title: string | null, byKey: boolean) => void;
}

/** Enter or leaving the field keeps the new title, Esc the old one. */
function TitleField({ title, onDone }: TitleFieldProps) {
  const t = useT();
  const [text, setText] = useState(title);
  const done = useRef(false);
  const finish = (next: string, byKey: boolean): void => {
    // Taking a focused field away blurs it.
    if (done.current) return;
    done.current = true;
    onDone(next.trim() === '' ? null : next.trim(), byKey);
  };
  return (
    <input
      className="title-field"
      data-testid="conversation-title"
      aria-label={t('list.renameField')}
      value={text}
      maxLength={200}
      autoFocus
      onFocus={(event) => event.currentTarget.select()}
      onChange={(event) => setText(event.target.value)}
      onBlur={() => finish(text, false)}
      onKeyDown={(event) => {
        if (event.nativeEvent.isComposing || event.keyCode === 229) return;
        if (event.key === 'Enter') {
          finish(text, true);
        } else if (event.key === 'Escape') {
          event.preventDefault();
          event.stopPropagation();
          finish('', true);
        }
      }}
    />
  );
}
