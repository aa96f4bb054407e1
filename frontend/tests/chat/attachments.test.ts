import { describe, expect, it, vi } from 'vitest';
import { Failure } from '../../src/api/failure';
import { Attachments } from '../../src/chat/attachments';

const file = (name: string): File => new File(['x'], name);

function setUp() {
  const waiting: { resolve: (id: string) => void; reject: (why: unknown) => void; signal: AbortSignal }[] = [];
  const remove = vi.fn(async () => undefined);
  const files = new Attachments({
    upload: ({ name, size }, onProgress, signal) =>
      new Promise((resolve, reject) => {
        onProgress(0.5);
        waiting.push({ resolve: (id) => resolve({ id, name: `${name}!`, kind: 'text', size }), reject, signal });
      }),
    remove,
  });
  const shown = () => files.get().map((one) => [one.name, one.stored?.id ?? one.failure?.code ?? one.progress]);
  return { files, waiting, remove, shown };
}

describe('Attachments', () => {
  it('sends one after the other and says how far each has come', async () => {
    const { files, waiting, shown } = setUp();
    expect(files.ready).toBe(true);
    files.add([file('a'), file('b')]);
    await vi.waitFor(() => expect(shown()).toEqual([['a', 0.5], ['b', 0]]));
    waiting[0]!.resolve('1');
    await vi.waitFor(() => expect(shown()).toEqual([['a!', '1'], ['b', 0.5]]));
    expect(files.ready).toBe(false);
    waiting[1]!.reject(new Failure('file_too_large'));
    await vi.waitFor(() => expect(shown()).toEqual([['a!', '1'], ['b', 'file_too_large']]));
    expect(files.ready).toBe(false);
    files.remove(2);
    expect(files.ready).toBe(true);
    const taken = files.take();
    expect([taken.length, shown()]).toEqual([1, []]);
    files.giveBack(taken);
    expect(shown()).toEqual([['a!', '1']]);
  });

  it('takes back what is on its way and deletes what has arrived', async () => {
    const { files, waiting, remove } = setUp();
    files.add([file('a'), file('b')]);
    await vi.waitFor(() => expect(waiting.length).toBe(1));
    files.remove(1);
    expect(waiting[0]!.signal.aborted).toBe(true);
    waiting[0]!.resolve('1'); // it had arrived all the same
    await vi.waitFor(() => expect(waiting.length).toBe(2));
    expect(remove).toHaveBeenCalledWith('1');
    waiting[1]!.resolve('2');
    await vi.waitFor(() => expect(files.ready).toBe(true));
    files.remove(2);
    expect(remove).toHaveBeenCalledWith('2');
    expect(files.get()).toEqual([]);
  });
});
