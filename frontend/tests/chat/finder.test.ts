import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FoundConversation } from '../../src/api/contract';
import { Failure } from '../../src/api/failure';
import { Finder, marked } from '../../src/chat/finder';

const one = (id: string): FoundConversation => ({ id, title: id, agent: null, created_at: '', updated_at: '', active_run_id: null, match: null });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('Finder', () => {
  it('asks once somebody stops typing, and shows the newest answer only', async () => {
    const answers: ((found: FoundConversation[]) => void)[] = [];
    const find = vi.fn((_: string) => new Promise<FoundConversation[]>((resolve) => answers.push(resolve)));
    const finder = new Finder(find);
    for (const text of ['l', 'li', ' lis ']) finder.look(text);
    expect([finder.get().phase, find.mock.calls.length]).toEqual(['looking', 0]);
    await vi.advanceTimersByTimeAsync(300);
    expect(find.mock.calls).toEqual([['lis']]);
    finder.look('lisbon');
    await vi.advanceTimersByTimeAsync(300);
    answers[1]!([one('b')]);
    answers[0]!([one('a')]);
    await vi.advanceTimersByTimeAsync(0);
    expect([finder.get().phase, finder.get().found.map(({ id }) => id)]).toEqual(['ready', ['b']]);
    finder.look('');
    expect(finder.get()).toMatchObject({ phase: 'idle', found: [] });
  });

  it('says what went wrong, and asks again', async () => {
    const find = vi.fn().mockRejectedValueOnce(new Failure('rate_limited')).mockResolvedValue([one('a')]);
    const finder = new Finder(find);
    finder.look('x');
    await vi.advanceTimersByTimeAsync(300);
    expect(finder.get()).toMatchObject({ phase: 'failed', failure: { code: 'rate_limited' } });
    await finder.again();
    expect(finder.get()).toMatchObject({ phase: 'ready', failure: null });
  });

  it('marks what was looked for', () => {
    expect(marked('A night in LISBON', 'lisb nig')).toEqual([['A ', false], ['nig', true], ['ht in ', false], ['LISB', true], ['ON', false]]);
    expect(marked('租赁合同', '合同')).toEqual([['租赁', false], ['合同', true]]);
    expect(marked('a.b*c', '.*(')).toEqual([['a.b*c', false]]);
  });
});
