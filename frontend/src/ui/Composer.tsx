import { type KeyboardEvent, useLayoutEffect, useRef } from 'react';
import type { Thread } from '../chat/thread';
import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { AgentSelect } from './AgentSelect';
import { AttachmentList } from './Attachments';
import { useApp } from './context';
import { AttachIcon, SendIcon, StopIcon } from './icons';
import { useDrop, useFiles } from './useFiles';
import { matches, TOUCH } from './useMedia';

const MOST_HEIGHT = 0.4;

/** Browsers without `field-sizing` get the field's height from its content by hand. */
function fitHeight(field: HTMLTextAreaElement): void {
  if (CSS.supports('field-sizing', 'content')) return;
  field.style.height = 'auto';
  field.style.height = `${Math.min(field.scrollHeight, window.innerHeight * MOST_HEIGHT)}px`;
}

/** Where the next message is written. One button: send, or stop while an answer is being written. */
export function Composer({ thread }: { thread: Thread }) {
  const app = useApp();
  const t = useT();
  const text = useObservable(thread.draft);
  const { runId, sending, stopping, conversation } = useObservable(thread);
  const agents = useObservable(app.agents);
  const chosen = useObservable(app.agent);
  const blocked = useObservable(app.blocked);
  const field = useRef<HTMLTextAreaElement>(null);
  const busy = runId !== null || sending;
  const agent = conversation?.agent?.name ?? agents.items.find((item) => item.slug === chosen)?.name;
  const attachments = useObservable(thread.attachments);
  const files = useFiles(thread);
  const over = useDrop(files.attach);
  const arrived = attachments.every((file) => file.stored !== null);
  const canSend = text.trim() !== '' && !busy && blocked === null && arrived;

  useLayoutEffect(() => {
    if (field.current) fitHeight(field.current);
  }, [text]);

  useLayoutEffect(() => {
    if (!matches(TOUCH)) field.current?.focus({ preventScroll: true });
  }, [thread]);

  const send = (): void => {
    if (canSend) void thread.send(chosen);
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    // Enter that ends an input method's composition is not ours; Safari reports it with key code 229 only.
    if (event.nativeEvent.isComposing || event.keyCode === 229) return;
    if (event.key === 'ArrowUp' && text === '' && editLast()) event.preventDefault();
    if (event.key !== 'Enter' || event.shiftKey || event.altKey) return;
    event.preventDefault();
    send();
  };
  return (
    <form
      className="composer"
      data-over={over}
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {over && <p className="drop-here">{t(files.able ? 'files.drop' : 'files.unable')}</p>}
      <AttachmentList attachments={thread.attachments} />
      <label className="sr-only" htmlFor="composer">
        {t('composer.label')}
      </label>
      <textarea
        ref={field}
        id="composer"
        data-testid="composer"
        rows={1}
        value={text}
        enterKeyHint="send"
        aria-describedby="composer-hint"
        placeholder={agent ? t('composer.placeholder', { agent }) : t('composer.placeholderPlain')}
        onChange={(event) => thread.draft.set(event.target.value)}
        onKeyDown={onKeyDown}
        onPaste={(event) => {
          const pasted = [...event.clipboardData.files];
          if (pasted.length === 0) return;
          event.preventDefault();
          files.attach(pasted);
        }}
      />
      <div className="flex items-center gap-2 pl-1">
        {files.able && <AttachButton onFiles={files.attach} />}
        {conversation === null && <AgentSelect />}
        <span id="composer-hint" className="hidden flex-1 truncate text-right text-xs text-faint sm:block">
          {stopping ? t('composer.stopping') : t('composer.hint')}
        </span>
        <span className="flex-1 sm:hidden" />
        {busy ? (
          <button
            type="button"
            className="send-button"
            data-testid="stop"
            disabled={stopping}
            aria-label={stopping ? t('composer.stopping') : t('composer.stop')}
            title={`${t('composer.stop')} (Esc)`}
            onClick={() => void thread.stop()}
          >
            {stopping ? <span className="spinner" aria-hidden="true" /> : <StopIcon size={18} />}
          </button>
        ) : (
          <button
            type="submit"
            className="send-button"
            data-testid="send"
            disabled={!canSend}
            aria-label={t('composer.send')}
            title={t('composer.send')}
          >
            <SendIcon size={18} />
          </button>
        )}
      </div>
    </form>
  );
}

/** Opens one's last message to be written anew; false where there is none that may be. */
function editLast(): boolean {
  const buttons = document.querySelectorAll<HTMLButtonElement>('[data-testid=edit-message]');
  const last = buttons.item(buttons.length - 1);
  last?.click();
  return Boolean(last);
}

/** What the server reads; it looks into the files and not at their names. */
const KINDS = '.pdf,.xlsx,.csv,.json,.md,.txt,text/*';

function AttachButton({ onFiles }: { onFiles: (files: Iterable<File>) => void }) {
  const t = useT();
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button
        type="button"
        className="icon-button"
        data-testid="attach"
        aria-label={t('files.attach')}
        title={t('files.attach')}
        onClick={() => input.current?.click()}
      >
        <AttachIcon size={18} />
      </button>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        accept={KINDS}
        data-testid="attach-files"
        onChange={(event) => {
          onFiles([...(event.target.files ?? [])]);
          event.target.value = ''; // so that the same file can be chosen again
        }}
      />
    </>
  );
}
