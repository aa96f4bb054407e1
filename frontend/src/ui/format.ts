import type { Conversation } from '../api/contract';
import type { MessageKey } from '../i18n/catalog';

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
