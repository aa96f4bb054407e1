import type { NamedFile } from '../api/contract';
import type { Attachment, Attachments } from '../chat/attachments';
import { remedyFor } from '../api/failure';
import { useSpeech, useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { failureText } from './FailureNotice';
import { sizeText } from './format';
import { CloseIcon, FileIcon, RetryIcon } from './icons';

/** The files of the message that is being written, each with how far it has come. */
export function AttachmentList({ attachments }: { attachments: Attachments }) {
  const t = useT();
  const files = useObservable(attachments);
  if (files.length === 0) return null;
  return (
    <ul className="chips" aria-label={t('files.label')}>
      {files.map((file) => (
        <Chip key={file.key} file={file} onRemove={() => attachments.remove(file.key)} onRetry={() => attachments.retry(file.key)} />
      ))}
    </ul>
  );
}

interface ChipProps {
  file: Attachment;
  onRemove: () => void;
  onRetry: () => void;
}

function Chip({ file, onRemove, onRetry }: ChipProps) {
  const { t, language } = useSpeech();
  const { name, failure, stored, progress } = file;
  return (
    <li
      className="chip"
      data-testid="attachment"
      data-state={failure ? 'failed' : stored ? 'ready' : 'uploading'}
      aria-busy={!stored && !failure}
    >
      <FileIcon />
      <span className="chip-name">
        <span className="truncate">{name}</span>
        {failure ? (
          <span role="alert">{failureText(t, failure.code)}</span>
        ) : stored ? (
          <span>{sizeText(file.size, t, language)}</span>
        ) : (
          <span className="flex items-center gap-2">
            <progress max={1} value={progress} aria-label={t('files.uploading', { name })} />
            <span className="tabular-nums">{Math.round(progress * 100)} %</span>
          </span>
        )}
      </span>
      {failure && remedyFor(failure.code) === 'retry' && (
        <button
          type="button"
          className="icon-button small"
          data-testid="attachment-retry"
          aria-label={t('files.retry', { name })}
          title={t('files.retry', { name })}
          onClick={onRetry}
        >
          <RetryIcon size={14} />
        </button>
      )}
      <button
        type="button"
        className="icon-button small"
        data-testid="attachment-remove"
        aria-label={t('files.remove', { name })}
        title={t('files.remove', { name })}
        onClick={onRemove}
      >
        <CloseIcon size={14} />
      </button>
    </li>
  );
}

/** The files that a message came with, to be downloaded. */
export function FileChips({ files, conversationId }: { files: readonly NamedFile[]; conversationId: string | null }) {
  const t = useT();
  if (files.length === 0 || conversationId === null) return null;
  return (
    <ul className="chips sent" aria-label={t('files.label')}>
      {files.map(({ id, name }) => (
        <li key={id}>
          <a
            className="chip"
            data-testid="file"
            href={`/api/v1/conversations/${conversationId}/files/${id}`}
            download={name}
            title={t('files.download', { name })}
          >
            <FileIcon />
            <span className="truncate">{name}</span>
          </a>
        </li>
      ))}
    </ul>
  );
}
