import type { Conversation } from '../api/contract';
import type { Language, MessageKey, Translate } from '../i18n/catalog';

const DAY_MS = 86_400_000;

export interface DayGroup {
  label: MessageKey;
  items: Conversation[];
}

/** Cuts a list (newest first) into today, yesterday, the week before, and older, by the reader's calendar. */
export function groupByDay(items: readonly Conversation[], now: Date): DayGroup[] {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const groups: DayGroup[] = [];
  for (const item of items) {
    const label = dayLabel(Date.parse(item.updated_at), today);
    const last = groups.at(-1);
    if (last?.label === label) last.items.push(item);
    else groups.push({ label, items: [item] });
  }
  return groups;
}

function dayLabel(time: number, today: number): MessageKey {
  if (time >= today) return 'list.today';
  if (time >= today - DAY_MS) return 'list.yesterday';
  if (time >= today - 7 * DAY_MS) return 'list.week';
  return 'list.older';
}

/** How long something took, as people say it. */
export function durationText(ms: number, t: Translate, language: Language): string {
  const seconds = ms / 1000;
  if (seconds >= 60) {
    const rest = String(Math.floor(seconds % 60)).padStart(2, '0');
    return t('time.minutes', { minutes: Math.floor(seconds / 60), seconds: rest });
  }
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return t('time.seconds', { seconds: Math.max(0.1, seconds).toLocaleString(language, digits) });
}

/** The size of a file, as people say it. */
export function sizeText(bytes: number, t: Translate, language: Language): string {
  const small = bytes < 1_000_000;
  const amount = small ? Math.max(1, Math.round(bytes / 1000)) : bytes / 1_000_000;
  const size = amount.toLocaleString(language, { maximumFractionDigits: 1 });
  return t(small ? 'files.kilobytes' : 'files.megabytes', { size });
}
