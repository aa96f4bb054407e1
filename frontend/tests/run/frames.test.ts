import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { frameScheduler } from '../../src/run/frames';

describe('frameScheduler', () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'requestAnimationFrame', 'performance'] }));
  afterEach(() => vi.useRealTimers());

  it('draws what always has more to show some thirty times a second, not with every frame', async () => {
    const schedule = frameScheduler();
    let drawn = 0;
    const again = (): void =>
      schedule(() => {
        drawn += 1;
        setTimeout(again, 1); // the next token
      });
    again();
    await vi.advanceTimersByTimeAsync(1000);
    expect(drawn).toBeGreaterThan(15);
    expect(drawn).toBeLessThan(40);
  });
});
