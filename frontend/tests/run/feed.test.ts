import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RunFeed } from '../../src/run/feed';
import { completed, RUN, started, text } from '../events';

function make() {
  const frames: (() => void)[] = [];
  const onGap = vi.fn();
  const feed = new RunFeed(RUN, (callback) => frames.push(callback), onGap);
  const heard = vi.fn();
  feed.subscribe(heard);
  const frame = (): void => frames.splice(0).forEach((callback) => callback());
  return { feed, frame, frames, heard, onGap };
}

describe('RunFeed', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it('tells its listeners once a frame, however many tokens came', () => {
    const { feed, frame, heard, frames } = make();
    feed.push(started());
    for (let seq = 2; seq < 100; seq += 1) feed.push(text(seq, 'x'));
    expect(frames).toHaveLength(1);
    expect(feed.get().text).toBe('');
    frame();
    expect(feed.get().text).toHaveLength(98);
    expect(heard).toHaveBeenCalledTimes(1);
  });

  it('tells of the end at once', () => {
    const { feed, heard } = make();
    feed.push(started());
    feed.push(text(2, 'all'));
    feed.push(completed(3));
    expect(feed.get()).toMatchObject({ text: 'all', status: 'completed' });
    expect(feed.over).toBe(true);
    expect(heard).toHaveBeenCalledTimes(1);
  });

  it('asks for the log again on a gap, and again while nothing comes', () => {
    const { feed, frame, onGap } = make();
    feed.push(started());
    feed.push(text(2, 'a'));
    feed.push(text(4, 'c'));
    expect(onGap).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(3000);
    expect(onGap).toHaveBeenCalledTimes(2);
    for (const event of [text(3, 'b'), text(4, 'c'), text(5, 'd')]) feed.push(event);
    vi.advanceTimersByTime(10_000);
    expect(onGap).toHaveBeenCalledTimes(2);
    frame();
    expect(feed.get().text).toBe('abcd');
  });

  it('rebuilds nothing twice when it is read again from the start', () => {
    const { feed, frame } = make();
    for (const event of [started(), text(2, 'a'), text(3, 'b')]) feed.push(event);
    feed.restart();
    for (const event of [started(), text(2, 'a'), text(3, 'b'), text(4, 'c')]) feed.push(event);
    frame();
    expect(feed.get().text).toBe('abc');
    expect(feed.lastSeq).toBe(4);
  });
});
