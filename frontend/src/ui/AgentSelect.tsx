import { type KeyboardEvent, useEffect, useId, useMemo, useRef, useState } from 'react';
import type { Agent } from '../api/contract';
import { useT } from '../i18n/language';
import { useObservable } from '../store/observable';
import { useApp } from './context';
import { CheckIcon, ChevronIcon } from './icons';
import { focusComposer } from './useShortcuts';

/** Fewer agents are seen at a glance. */
const SEARCHED_FROM = 7;

/** Whom a new conversation is with; only where there is a choice. */
export function AgentSelect() {
  const app = useApp();
  const t = useT();
  const { items } = useObservable(app.agents);
  const chosen = useObservable(app.agent);
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const current = items.find((agent) => agent.slug === chosen);
  useEffect(() => {
    if (!open) return;
    const outside = (event: PointerEvent): void => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener('pointerdown', outside);
    return () => document.removeEventListener('pointerdown', outside);
  }, [open]);
  if (items.length < 2) return null;
  return (
    <div
      ref={box}
      className="agent-select"
      onBlur={(event) => event.relatedTarget && !event.currentTarget.contains(event.relatedTarget) && setOpen(false)}
    >
      <button
        ref={button}
        type="button"
        className="text-button"
        data-testid="agent-select"
        data-agent={chosen ?? ''}
        aria-haspopup="dialog"
        aria-expanded={open}
        aria-label={`${t('composer.agent')}: ${current?.name ?? ''}`}
        onClick={() => setOpen(!open)}
      >
        <span className="truncate">{current?.name}</span>
        <span className="rotate-90" aria-hidden="true">
          <ChevronIcon size={13} />
        </span>
      </button>
      {open && (
        <AgentMenu
          agents={items}
          chosen={chosen}
          onChoose={(slug) => {
            app.chooseAgent(slug);
            setOpen(false);
            focusComposer();
          }}
          onClose={() => {
            setOpen(false);
            button.current?.focus();
          }}
        />
      )}
    </div>
  );
}

interface AgentMenuProps {
  agents: readonly Agent[];
  chosen: string | null;
  onChoose: (slug: string) => void;
  onClose: () => void;
}

/** A list with the keyboard's focus on its field: arrows move, Enter chooses, typing narrows it down. */
function AgentMenu({ agents, chosen, onChoose, onClose }: AgentMenuProps) {
  const t = useT();
  const list = useId();
  const [text, setText] = useState('');
  const found = useMemo(() => {
    const wanted = text.trim().toLowerCase();
    const said = (agent: Agent): string => `${agent.name} ${agent.slug} ${agent.description}`.toLowerCase();
    return wanted === '' ? agents : agents.filter((agent) => said(agent).includes(wanted));
  }, [agents, text]);
  const [at, setAt] = useState(() => Math.max(0, agents.findIndex((agent) => agent.slug === chosen)));
  const active = found[Math.min(at, found.length - 1)];
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus({ preventScroll: true }), []);
  useEffect(() => {
    document.getElementById(`${list}:${active?.slug}`)?.scrollIntoView({ block: 'nearest' });
  }, [list, active]);
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.nativeEvent.isComposing) return;
    const steps: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: found.length - 1 };
    const next = steps[event.key];
    if (next !== undefined) setAt(Math.max(0, Math.min(found.length - 1, next)));
    else if (event.key === 'Enter' && active) onChoose(active.slug);
    else if (event.key === 'Escape') onClose();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div className="agent-menu" onKeyDown={onKeyDown}>
      <input
        ref={field}
        type="text"
        role="combobox"
        className={agents.length < SEARCHED_FROM ? 'sr-only' : undefined}
        data-testid="agent-search"
        aria-expanded="true"
        aria-controls={list}
        aria-activedescendant={active ? `${list}:${active.slug}` : undefined}
        aria-label={t('composer.findAgent')}
        placeholder={t('composer.findAgent')}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setAt(0);
        }}
      />
      <ul id={list} role="listbox" aria-label={t('composer.agent')}>
        {found.map((agent) => (
          <li
            key={agent.slug}
            id={`${list}:${agent.slug}`}
            role="option"
            aria-selected={agent.slug === chosen}
            data-active={agent === active}
            data-testid="agent-option"
            data-agent={agent.slug}
            onPointerMove={() => setAt(found.indexOf(agent))}
            onClick={() => onChoose(agent.slug)}
          >
            <span className="min-w-0 flex-1">
              <span className="block truncate font-medium">{agent.name}</span>
              {agent.description && <span className="agent-about">{agent.description}</span>}
            </span>
            {agent.slug === chosen && <CheckIcon size={15} />}
          </li>
        ))}
      </ul>
      {found.length === 0 && <p role="status" className="px-3 py-2 text-faint">{t('composer.noAgent')}</p>}
    </div>
  );
}
