import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Api } from '../../src/api/client';

function answer(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(typeof body === 'string' ? body : JSON.stringify(body), { status, headers });
}

function make(response: Response | Error | DOMException) {
  const fetcher = vi.fn(async (_url: string, _init?: RequestInit) => {
    if (response instanceof Error || response instanceof DOMException) throw response;
    return response;
  });
  return { api: new Api(fetcher as unknown as typeof fetch), fetcher };
}

beforeEach(() => {
  document.cookie = 'csrftoken=to%2Bken';
});

describe('Api', () => {
  it('sends the CSRF token with everything that changes something, and not with reads', async () => {
    const { api, fetcher } = make(answer(200, {}));
    await api.edit('a/b', { title: 'x' });
    const [url, init] = fetcher.mock.calls[0]!;
    expect(url).toBe('/api/v1/conversations/a%2Fb');
    expect(init?.headers).toMatchObject({ 'X-CSRFToken': 'to+ken', 'Content-Type': 'application/json' });
    const reading = make(answer(200, { conversations: [], next_cursor: null }));
    await reading.api.conversations('n=1');
    expect(reading.fetcher.mock.calls[0]![0]).toBe('/api/v1/conversations?limit=30&cursor=n%3D1');
    expect(reading.fetcher.mock.calls[0]![1]?.headers).not.toHaveProperty('X-CSRFToken');
  });

  it('prefers the cookie that no other host may set', async () => {
    const jar = vi.spyOn(document, 'cookie', 'get').mockReturnValue('csrftoken=tossed; __Host-csrftoken=own');
    const { api, fetcher } = make(answer(200, {}));
    await api.edit('a', { title: 'x' });
    expect(fetcher.mock.calls[0]![1]?.headers).toMatchObject({ 'X-CSRFToken': 'own' });
    jar.mockRestore();
  });

  it('reads the platform’s errors with wait and request id', async () => {
    const error = { code: 'quota_exceeded', message: 'used up', details: { resets_at: 'x' }, request_id: 'r1' };
    const { api } = make(answer(429, { error }, { 'Retry-After': '30' }));
    await expect(api.startRun({ message: 'x' })).rejects.toMatchObject({
      code: 'quota_exceeded', message: 'used up', status: 429, retryAfter: 30, requestId: 'r1', details: { resets_at: 'x' },
    });
  });

  it.each([
    [401, 'not_authenticated'],
    [404, 'not_found'],
    [413, 'request_too_large'],
    [500, 'internal_error'],
    [502, 'network'],
  ])('names an answer %d of something in between %s', async (status, code) => {
    await expect(make(answer(status, '<html>')).api.agents()).rejects.toMatchObject({ code });
  });

  it('says network when no answer came, and timeout when it took too long', async () => {
    await expect(make(new TypeError('Failed to fetch')).api.agents()).rejects.toMatchObject({ code: 'network' });
    const late = new DOMException('late', 'TimeoutError');
    await expect(make(late).api.agents()).rejects.toMatchObject({ code: 'timeout' });
  });

  it('takes the redirect of the language view for success', async () => {
    const { api, fetcher } = make({ ok: false, type: 'opaqueredirect' } as Response);
    await api.setLanguage('zh-hans');
    expect(fetcher.mock.calls[0]![1]).toMatchObject({ method: 'POST', body: expect.stringContaining('language=zh-hans') });
  });

  it('survives an answer without a body', async () => {
    await expect(make(new Response(null, { status: 204 })).api.remove('x')).resolves.toBeUndefined();
  });
});
