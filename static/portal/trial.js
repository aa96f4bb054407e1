// The live test beside an agent's draft: saves the form, asks `<slug>@draft` by POST /api/v1/runs, and shows the run's
// events as they come (docs/protocol/run-events.schema.json). A stream that breaks is resumed at its number.
(() => {
  'use strict';
  const trial = document.querySelector('[data-trial]');
  if (!trial) return;
  const part = (name) => trial.querySelector(`[data-${name}]`);
  const draft = document.getElementById(trial.dataset.form);
  const words = part('words').dataset;
  const failures = JSON.parse(document.getElementById('trial-failures').textContent);
  const [log, state, form] = [part('log'), part('state-line'), part('ask')];
  const field = form.querySelector('textarea');
  const [send, stop, clear] = [part('send'), part('stop'), part('clear')];
  const csrf = draft.elements.csrfmiddlewaretoken.value;
  const ENDS = new Set(['run.completed', 'run.failed', 'run.cancelled']);
  let conversation = null;
  let run = null; // what is shown now: {id, seq, body, calls, last, key, stopping}

  class Refused extends Error {}

  const said = (error) => failures[error?.code] ?? error?.message ?? words.failed;

  const entry = (kind, who) => {
    const item = document.createElement('li');
    item.className = kind;
    const name = document.createElement('strong');
    name.textContent = who;
    item.append(name);
    log.append(item);
    return item;
  };

  const piece = (item, kind, tag = 'div') => {
    const found = document.createElement(tag);
    found.className = kind;
    item.append(found);
    return found;
  };

  const show = (text) => { state.textContent = text; };

  const scroll = () => { log.scrollTop = log.scrollHeight; };

  const fold = (item, kind, title) => {
    const details = piece(item, kind, 'details');
    const summary = document.createElement('summary');
    summary.textContent = title;
    details.append(summary);
    return details;
  };

  const text = (kind, more) => {
    // Text behind a call of a tool stands behind it, too.
    if (run.last?.className !== kind) run.last = kind === 'thought' ? piece(fold(run.body, 'thinking', words.thinking), kind, 'p') : piece(run.body, kind, 'p');
    run.last.textContent += more;
  };

  const called = (data) => {
    const details = fold(run.body, 'call', `${words.tool}: ${data.name}`);
    piece(details, 'sent', 'pre').textContent = JSON.stringify(data.arguments, null, 2);
    run.calls.set(data.call_id, details);
    run.last = null;
  };

  const returned = (data) => {
    const details = run.calls.get(data.call_id) ?? fold(run.body, 'call', `${words.tool}: ${data.name}`);
    const failed = data.ok === false;
    details.classList.toggle('bad', failed);
    details.querySelector('summary').textContent += ` · ${failed ? words.failed : '✓'}${data.duration_ms === undefined ? '' : ` ${data.duration_ms} ms`}`;
    piece(details, 'got', 'pre').textContent = (failed ? data.error : data.result) ?? '';
  };

  // What was said so far is no part of the answer.
  const unsay = () => {
    for (const part of run.body.querySelectorAll('.answer')) part.remove();
    run.last = null;
  };

  const waits = (data) => {
    const link = piece(run.body, 'note', 'p').appendChild(document.createElement('a'));
    link.href = `/settings/approvals/${encodeURIComponent(data.approval_id)}/`;
    link.target = '_blank';
    link.textContent = `${words.approve} ${data.name}`;
    run.last = null;
    show(words.waiting);
  };

  const failed = (error) => {
    const line = piece(run?.body ?? entry('it', words.it), 'error', 'p');
    line.setAttribute('role', 'alert');
    line.textContent = said(error);
  };

  const ended = (type, data) => {
    if (type === 'run.failed') failed(data.error ?? data);
    const usage = data.usage;
    const count = usage ? ` ${usage.input_tokens} + ${usage.output_tokens} ${words.tokens}` : '';
    show((type === 'run.cancelled' ? words.stopped : '') + count);
  };

  const cancel = () => {
    if (!run) return;
    run.stopping = true; // before its first event nobody knows its id
    if (run.id) fetch(`/api/v1/runs/${run.id}/cancel`, { method: 'POST', keepalive: true }).catch(() => {});
  };

  const take = ({ seq, type, data, run_id: id }) => {
    if (seq <= run.seq) return false;
    run.seq = seq;
    if (!run.id) {
      run.id = id;
      if (run.stopping) cancel();
    }
    if (type === 'run.queued') show(words.waiting);
    else if (type === 'run.started') {
      conversation = data.conversation_id ?? conversation;
      show(words.answering);
    } else if (type === 'model.changed') piece(run.body, 'note', 'p').textContent = `${words.other} ${data.model}`;
    else if (type === 'text.delta') text('answer', data.text);
    else if (type === 'reasoning.delta') text('thought', data.text);
    else if (type === 'tool.started') called(data);
    else if (type === 'tool.finished') returned(data);
    else if (type === 'text.discarded') unsay();
    else if (type === 'agent.started') piece(run.body, 'note', 'p').textContent = `→ ${data.name || data.slug}`;
    else if (type === 'approval.requested') waits(data);
    else if (type === 'approval.decided') show(words.answering);
    else if (ENDS.has(type)) ended(type, data);
    scroll();
    return ENDS.has(type);
  };

  // Whether the run has ended by what this answer told.
  const read = async (response) => {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return false;
      const parts = (rest + value).split('\n\n');
      rest = parts.pop();
      for (const event of parts) {
        const lines = event.split('\n').filter((line) => line.startsWith('data:'));
        if (lines.length && take(JSON.parse(lines.map((line) => line.slice(5)).join('\n')))) return true;
      }
    }
  };

  const checked = async (response) => {
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    throw new Refused(said(body.error));
  };

  const save = async () => {
    show(words.saving);
    const response = await fetch(draft.getAttribute('action') || location.pathname, {
      method: 'POST', body: new FormData(draft), headers: { Accept: 'application/json' },
    });
    const body = await response.json().catch(() => ({}));
    // Who is signed out meanwhile is led to another page, which is no JSON.
    if (!response.ok || !body.revision) throw new Refused(body.problem ?? words.failed);
    draft.elements.revision.value = body.revision;
  };

  const follow = async (message) => {
    const body = { agent: trial.dataset.agent, message, ...(conversation ? { conversation_id: conversation } : {}) };
    // With the same key it is the same turn, however often it is asked for.
    const begin = () => fetch('/api/v1/runs', {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream', 'Idempotency-Key': run.key },
    });
    const goOn = () => fetch(`/api/v1/runs/${run.id}/events?after_seq=${run.seq}`);
    for (let wait = 250; wait < 10_000; wait *= 2) {
      const response = await (run.id ? goOn() : begin()).catch(() => null);
      if (response) await checked(response);
      if (response && await read(response).catch(() => false)) return;
      await new Promise((resolve) => { setTimeout(resolve, wait); });
    }
    throw new Refused(words.lost);
  };

  const busy = (is) => {
    send.disabled = is;
    stop.hidden = !is;
    clear.hidden = is || !conversation;
  };

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const message = field.value.trim();
    if (!message || send.disabled) return;
    busy(true);
    run = null;
    try {
      await save();
      piece(entry('you', words.you), 'answer', 'p').textContent = message;
      run = { id: null, seq: 0, body: entry('it', words.it), calls: new Map(), last: null, key: `trial-${Date.now()}-${Math.random()}`, stopping: false };
      field.value = '';
      show(words.waiting);
      scroll();
      await follow(message);
    } catch (error) {
      failed({ message: error instanceof Refused ? error.message : words.lost });
      show('');
      scroll();
    } finally {
      busy(false);
      field.focus();
    }
  });

  field.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });

  stop.addEventListener('click', cancel);

  // keepalive: it is sent also when the page is left.
  const forget = () => {
    if (send.disabled) cancel();
    if (!conversation) return;
    fetch(`/api/v1/conversations/${conversation}`, { method: 'DELETE', keepalive: true, headers: { 'X-CSRFToken': csrf } }).catch(() => {});
    conversation = null;
  };

  clear.addEventListener('click', () => {
    forget();
    log.replaceChildren();
    show('');
    clear.hidden = true;
    field.focus();
  });
  window.addEventListener('pagehide', forget);
  form.hidden = false;
})();
