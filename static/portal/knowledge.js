// How far documents are, live: GET /api/v1/knowledge/<slug>/events, and by asking again while that connection is cut.
// What is shown of a document stands in elements with `data-document`, in rows of the list and in those of uploads.
(() => {
  'use strict';
  const line = document.querySelector('[data-live]');
  if (!line) return;
  const words = JSON.parse(document.getElementById('knowledge-words').textContent);
  const place = line.dataset.live;
  const WAITING = ['queued', 'parsing', 'embedding'];
  const POLL_MS = 5000;
  const known = new Map(); // what was told last of a document
  let told = false;
  let timer = 0;

  const failures = JSON.parse(document.getElementById('knowledge-failures').textContent);

  // A sentence in the page's language, by what is kept of it (core/said.py).
  const translated = (text, kept) => {
    if (kept?.code) return failures[kept.code] ?? text;
    const sentence = words.said[kept?.text ?? text];
    if (sentence === undefined) return text;
    return sentence.replace(/%\((\w+)\)s/g, (place, name) => {
      const one = kept?.told?.[name];
      return one === undefined ? place : words.said[one] ?? one;
    });
  };

  const set = (where, name, change) => {
    const found = where.querySelector(`[data-${name}]`);
    if (found) change(found);
  };

  const draw = (where, one) => {
    const waits = WAITING.includes(one.state);
    const again = ['failed', 'cancelled'].includes(one.state);
    set(where, 'state', (badge) => {
      badge.textContent = words.states[one.state] ?? one.state;
      badge.classList.toggle('good', one.state === 'ready');
      badge.classList.toggle('bad', one.state === 'failed');
    });
    set(where, 'progress', (bar) => { bar.value = one.progress; bar.hidden = !waits; });
    set(where, 'step', (text) => { text.textContent = waits ? translated(one.step, one.said?.step) : ''; });
    set(where, 'error', (text) => { text.textContent = translated(one.error, one.said?.error); text.hidden = !one.error; });
    set(where, 'chunks', (text) => { text.textContent = one.chunks; });
    set(where, 'again', (form) => { form.hidden = !again; });
    set(where, 'stop', (form) => { form.hidden = !waits; });
  };

  const say = (text, link) => {
    line.textContent = text;
    if (link) {
      const more = document.createElement('a');
      more.href = location.href;
      more.textContent = words.new;
      line.append(' ', more);
    }
    line.hidden = false;
  };

  const apply = (one) => {
    known.set(one.id, one);
    for (const where of document.querySelectorAll(`[data-document="${CSS.escape(one.id)}"]`)) draw(where, one);
  };

  const count = (counts) => {
    const put = (name, number) => set(document, `count="${name}"`, (found) => { found.textContent = number; });
    const all = Object.values(counts).reduce((sum, one) => sum + one, 0);
    put('all', all);
    set(document, 'empty', (text) => { text.hidden = all > 0; });
    put('ready', counts.ready ?? 0);
    put('failed', counts.failed ?? 0);
    put('waiting', WAITING.reduce((sum, state) => sum + (counts[state] ?? 0), 0));
  };

  const take = (data) => {
    data.documents.forEach(apply);
    for (const id of data.gone ?? []) known.delete(id);
    if (data.counts) count(data.counts);
    const list = document.querySelector('[data-count]');
    const unseen = told && list && data.documents.some((one) => !document.querySelector(`tr[data-document="${CSS.escape(one.id)}"]`));
    if (unseen) say(words.live, true);
    told = true;
  };

  const poll = async () => {
    const response = await fetch(`${place}/documents?limit=200`).catch(() => null);
    if (response?.ok) (await response.json()).documents.forEach(apply);
    if (response && [401, 403, 404].includes(response.status)) stop();
  };

  const fallBack = () => {
    if (timer) return;
    say(words.polling);
    timer = setInterval(poll, POLL_MS);
  };

  const live = () => {
    clearInterval(timer);
    timer = 0;
    say(words.live);
  };

  const source = new EventSource(`${place}/events`);
  const stop = () => {
    source.close();
    clearInterval(timer);
    say(words.ended);
  };
  source.addEventListener('open', live);
  source.addEventListener('error', fallBack);
  source.addEventListener('documents', (event) => take(JSON.parse(event.data)));
  source.addEventListener('end', stop);
  window.addEventListener('pagehide', () => source.close());

  // A file that has just arrived whole (uploads.js): it may have been told of already.
  document.addEventListener('document-arrived', ({ detail }) => {
    const last = known.get(detail.id);
    apply(last && last.version >= detail.version ? last : detail);
  });
})();
