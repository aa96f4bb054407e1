import { describe, expect, it, vi } from 'vitest';
import type { Api } from '../../src/api/client';
import type { Conversation } from '../../src/api/contract';
import { Failure } from '../../src/api/failure';
import { Conversations } from '../../src/chat/conversations';
import { groupByDay } from '../../src/ui/format';

const at = (id: string, day: number): Conversation => ({
  id,
  title: id,
  agent: null,
  created_at: '2025-01-01T00:00:00Z',
  updated_at: `2025-01-${String(day).padStart(2, '0')}T00:00:00Z`,
  active_run_id: null,
});

function make() {
  const api = {
    conversations: vi.fn(async (cursor: string | null = null) =>
      cursor === null
        ? { conversations: [at('d', 9), at('c', 8)], next_cursor: 'p2' as string | null }
        : { conversations: [at('c', 8), at('b', 7), at('a', 6)], next_cursor: null },
    ),
    pinned: vi.fn(async () => ({ conversations: [] as Conversation[], next_cursor: null })),
    edit: vi.fn(async () => ({})),
    remove: vi.fn(async () => ({})),
    restore: vi.fn(async () => ({})),
  };
  const list = new Conversations(api as unknown as Api);
  const ids = () => list.get().items.map((item) => item.id).join('');
  return { api, list, ids };
}

describe('Conversations', () => {
  it('pages without doubling what shifted over the edge', async () => {
    const { list, ids } = make();
    await list.refresh();
    await list.loadMore();
    expect(ids()).toBe('dcba');
    expect(list.get().cursor).toBeNull();
  });

  it('keeps what was paged in when the first page is read again', async () => {
    const { list, ids, api } = make();
    await list.refresh();
    await list.loadMore();
    api.conversations.mockResolvedValue({ conversations: [at('e', 10), at('d', 9)], next_cursor: 'x' });
    await list.refresh();
    expect(ids()).toBe('edcba');
    expect(list.get().cursor).toBeNull();
  });

  it('puts a conversation where its time says', async () => {
    const { list, ids } = make();
    await list.refresh();
    list.put(at('c', 10));
    list.put(at('x', 1));
    expect(ids()).toBe('cdx');
  });

  it('keeps a conversation that began while the list was being read', async () => {
    const { list, ids, api } = make();
    let answer!: (page: Awaited<ReturnType<typeof api.conversations>>) => void;
    api.conversations.mockReturnValue(new Promise((resolve) => (answer = resolve)));
    const reading = list.refresh();
    list.put(at('new', 12));
    answer({ conversations: [at('d', 9)], next_cursor: null });
    await reading;
    expect(ids()).toBe('newd');
    api.conversations.mockResolvedValue({ conversations: [at('d', 9)], next_cursor: null });
    await list.refresh();
    expect(ids()).toBe('d');
  });

  it('pins at once, keeps old pinned ones apart from the pages, and takes it back when the server refuses', async () => {
    const { list, ids, api } = make();
    const pinned = () => list.get().pinned.map((item) => item.id).join('');
    api.pinned.mockResolvedValue({ conversations: [{ ...at('z', 1), pinned_at: '2025-01-02' }], next_cursor: null });
    await list.refresh();
    expect([ids(), pinned(), list.find('z')?.id]).toEqual(['dc', 'z', 'z']);
    await list.pin('c', true);
    expect([ids(), pinned()]).toEqual(['dc', 'cz']);
    expect(list.find('c')?.pinned_at).toBeTruthy();
    await list.pin('z', false);
    expect(pinned()).toBe('c');
    api.edit.mockRejectedValue(new Failure('validation_failed'));
    await expect(list.pin('d', true)).rejects.toMatchObject({ code: 'validation_failed' });
    expect(pinned()).toBe('c');
  });

  it('renames and deletes at once, and takes it back when the server refuses', async () => {
    const { list, ids, api } = make();
    await list.refresh();
    api.edit.mockRejectedValue(new Failure('network'));
    await expect(list.rename('d', 'new')).rejects.toMatchObject({ code: 'network' });
    expect(list.find('d')?.title).toBe('d');
    api.remove.mockRejectedValue(new Failure('network'));
    const removing = list.remove('d');
    expect(ids()).toBe('c');
    await expect(removing).rejects.toMatchObject({ code: 'network' });
    expect(ids()).toBe('dc');
  });

  it('does not show a deleted one from an answer that was on its way, and brings it back on undo', async () => {
    const { list, ids } = make();
    await list.refresh();
    const gone = list.find('d')!;
    await list.remove('d');
    await list.refresh();
    expect(ids()).toBe('c');
    await list.restore(gone);
    expect(ids()).toBe('dc');
  });
});

describe('groupByDay', () => {
  it('cuts by the calendar, not by hours', () => {
    const now = new Date(2025, 5, 10, 0, 30);
    const of = (...when: [number, number, number, number?]): Conversation => ({
      ...at('x', 1),
      updated_at: new Date(...when).toISOString(),
    });
    const groups = groupByDay([of(2025, 5, 10, 0), of(2025, 5, 9, 23), of(2025, 5, 5), of(2025, 4, 1)], now);
    expect(groups.map((group) => group.label)).toEqual(['list.today', 'list.yesterday', 'list.week', 'list.older']);
  });
});
