// The mock's native API under /api/v1/.
import { Refusal } from './runs.mjs';
import { AGENTS } from './store.mjs';

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const text = Buffer.concat(parts).toString();
  if (request.headers['content-type']?.startsWith('multipart/')) {
    return { name: /filename="([^"]*)"/.exec(text)?.[1] ?? 'file', size: text.length };
  }
  return text === '' ? {} : JSON.parse(text);
}

function reply(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
  response.end(body === undefined ? '' : JSON.stringify(body));
}

function refuse(response, { code, status, message, retryAfter }) {
  if (retryAfter) response.setHeader('Retry-After', String(retryAfter));
  reply(response, status, { error: { code, message, details: {}, request_id: 'req_mock_0001' } });
}

export function restDoor({ store, runs, isSignedIn, csrfOk }) {
  const routes = [
    ['GET', /^\/api\/v1\/me$/, () => [200, { user: { id: '1', email: 'owner@acme.test', name: 'Owner' }, role: 'owner', scopes: ['*'], tenant: { id: '1', slug: 'acme', name: 'Acme' } }]],
    ['GET', /^\/api\/v1\/agents$/, () => [200, { agents: AGENTS, count: AGENTS.length }]],
    ['GET', /^\/api\/v1\/conversations$/, ({ query }) => {
      if (query.get('q')) return [200, { conversations: store.find(query.get('q')), next_cursor: null }];
      if (query.get('pinned')) return [200, { conversations: store.pinned(), next_cursor: null }];
      return [200, store.page(Number(query.get('limit') ?? 30), query.get('cursor'))];
    }],
    ['POST', /^\/api\/v1\/conversations$/, ({ body }) => {
      const agent = AGENTS.find((one) => one.slug === body.agent) ?? AGENTS[0];
      return [201, store.view(store.create(agent, body.title))];
    }],
    ['POST', /^\/api\/v1\/conversations\/([^/]+)\/files$/, ({ body }) => {
      if (body.name.includes('flaky') && store.flaky()) throw new Refusal('redis_unavailable', 503);
      if (body.name.includes('bad')) throw new Refusal('file_unsupported', 415);
      if (body.name.includes('big')) throw new Refusal('file_too_large', 413);
      return [201, { files: [store.addFile(body.name, body.size)] }];
    }],
    ['DELETE', /^\/api\/v1\/conversations\/[^/]+\/files\/([^/]+)$/, ({ id }) => {
      store.files.delete(id);
      return [204];
    }],
    ['PATCH', /^\/api\/v1\/conversations\/([^/]+)$/, ({ id, body }) => {
      const conversation = found(id);
      if (body.title !== undefined) conversation.title = body.title;
      if (body.pinned !== undefined) conversation.pinned_at = body.pinned ? new Date().toISOString() : null;
      return [200, store.view(conversation)];
    }],
    ['DELETE', /^\/api\/v1\/conversations\/([^/]+)$/, ({ id }) => {
      if (!store.remove(id)) throw new Refusal('not_found', 404);
      return [204];
    }],
    ['POST', /^\/api\/v1\/conversations\/([^/]+)\/restore$/, ({ id }) => {
      const conversation = store.restore(id);
      if (!conversation) throw new Refusal('not_found', 404);
      return [200, store.view(conversation)];
    }],
    ['GET', /^\/api\/v1\/conversations\/([^/]+)\/messages$/, ({ id }) => [200, messagesOf(found(id))]],
    ['POST', /^\/api\/v1\/conversations\/([^/]+)\/active$/, ({ id, body }) => {
      const conversation = found(id);
      store.show(conversation, body.message_id);
      return [200, messagesOf(conversation)];
    }],
    ['POST', /^\/api\/v1\/runs$/, ({ body }) => {
      const { run, messageId } = runs.start(body);
      const answer = {
        run: { id: run.id, status: run.status, last_seq: run.lastSeq }, conversation: store.named(run.conversation), message_id: messageId,
      };
      void run.play();
      return [202, answer];
    }],
    ['PUT', /^\/api\/v1\/messages\/([^/]+)\/feedback$/, ({ id, body }) => {
      store.message(id).feedback = body;
      return [200, body];
    }],
    ['DELETE', /^\/api\/v1\/messages\/([^/]+)\/feedback$/, ({ id }) => {
      store.message(id).feedback = null;
      return [204];
    }],
    ['GET', /^\/api\/v1\/runs\/([^/]+)\/trace$/, ({ id }) => [200, runs.runs.get(id).trace()]],
    ['GET', /^\/api\/v1\/runs\/([^/]+)\/sources$/, ({ id }) => [200, { run_id: id, sources: runs.runs.get(id)?.sources() ?? [] }]],
    ['GET', /^\/api\/v1\/approvals\/([^/]+)$/, ({ id }) => [200, asked(id).approval]],
    ['POST', /^\/api\/v1\/approvals\/([^/]+)$/, ({ id, body }) => {
      const run = asked(id);
      if (run.approval.status !== 'pending') throw new Refusal('approval_decided', 409);
      run.decide(body);
      return [200, run.approval];
    }],
    ['POST', /^\/api\/v1\/runs\/([^/]+)\/cancel$/, ({ id }) => {
      runs.runs.get(id)?.cancel();
      return [202, {}];
    }],
  ];

  function found(id) {
    const conversation = store.conversations.get(id);
    if (!conversation) throw new Refusal('not_found', 404);
    return conversation;
  }

  function asked(id) {
    const run = [...runs.runs.values()].find((one) => one.approval?.id === id);
    if (!run) throw new Refusal('not_found', 404);
    return run;
  }

  function messagesOf(conversation) {
    const run = runs.runs.get(conversation.active_run_id);
    const continues = run?.continued?.id ?? null;
    const active = run ? { id: run.id, last_seq: run.lastSeq, status: run.status, message_id: continues } : null;
    return { conversation: store.view(conversation), messages: store.path(conversation), active_run: active };
  }

  function stream(request, response, url, run) {
    const after = Number(request.headers['last-event-id'] ?? url.searchParams.get('after_seq') ?? 0);
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    const beat = setInterval(() => response.write(': hb\n\n'), 15_000);
    const stop = run.follow(after, (event) => {
      response.write(`id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
      if (event.type.match(/^run\.(completed|failed|cancelled)$/)) response.end();
      if (event.seq === 20 && run.script.tricks.delete('cut')) response.destroy();
    });
    response.on('close', () => {
      clearInterval(beat);
      stop();
    });
  }

  return async (request, response, url) => {
    try {
      if (!isSignedIn(request)) throw new Refusal('not_authenticated', 401);
      if (request.method !== 'GET' && !csrfOk(request)) throw new Refusal('permission_denied', 403);
      const events = /^\/api\/v1\/runs\/([^/]+)\/events$/.exec(url.pathname);
      if (events) {
        const run = runs.runs.get(events[1]);
        if (!run) throw new Refusal('not_found', 404);
        stream(request, response, url, run);
        return;
      }
      for (const [method, pattern, handle] of routes) {
        const match = method === request.method && pattern.exec(url.pathname);
        if (!match) continue;
        reply(response, ...(await handle({ id: match[1], query: url.searchParams, body: await bodyOf(request) })));
        return;
      }
      throw new Refusal('not_found', 404);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refuse(response, error);
    }
  };
}
