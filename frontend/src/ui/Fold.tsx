import { type ReactNode, useState } from 'react';
import { ChevronIcon } from './icons';

interface FoldProps {
  summary: ReactNode;
  testId: string;
  className?: string;
  /** Made only while it is open: what nobody looks at costs nothing while tokens come. */
  children: () => ReactNode;
  onOpen?: () => void;
}

/** A line that opens. */
export function Fold({ summary, testId, className, children, onOpen }: FoldProps) {
  const [open, setOpen] = useState(false);
  return (
    <details
      className={className ? `fold ${className}` : 'fold'}
      data-testid={testId}
      open={open}
      onToggle={(event) => {
        // A fold inside this one tells of itself with the same event.
        if (event.target !== event.currentTarget) return;
        if (event.currentTarget.open && !open) onOpen?.();
        setOpen(event.currentTarget.open);
      }}
    >
      <summary>
        <ChevronIcon size={14} />
        {summary}
      </summary>
      {open && <div className="fold-body">{children()}</div>}
    </details>
  );
}
