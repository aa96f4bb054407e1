// Files and folders that are dropped or chosen go up in pieces: POST /api/v1/knowledge/<slug>/uploads, then PATCH with
// Upload-Offset. The server knows a file by its checksum, so the same file, chosen again, goes on where it stopped.
(() => {
  'use strict';
  const drop = document.querySelector('[data-drop]');
  if (!drop) return;
  const part = (name) => drop.querySelector(`[data-${name}]`);
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const [words, failures, limits] = [read('knowledge-words'), read('knowledge-failures'), read('upload-limits')];
  const csrf = drop.querySelector('[name=csrfmiddlewaretoken]').value;
  const { uploads: place, replaces } = drop.dataset;
  const AT_ONCE = 3;
  const PAUSES_MS = [500, 1000, 2000, 4000, 8000, 16000];
  const queue = [];
  const all = new Set();

  class Refused extends Error {
    constructor(text, error, status) {
      super(text);
      this.code = error?.code;
      this.details = error?.details ?? {};
      this.status = status;
    }
  }

  const pause = (ms, signal) => new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });

  // One request, tried again while the server is away or busy.
  const call = async (item, method, address, body, headers) => {
    for (const wait of [...PAUSES_MS, null]) {
      const answer = await fetch(address, { method, body, headers: { 'X-CSRFToken': csrf, ...headers }, signal: item.stop.signal })
        .catch((error) => { if (item.stop.signal.aborted) throw error; return null; });
      if (answer?.ok) return answer.json();
      const told = answer ? await answer.json().catch(() => ({})) : {};
      const passing = !answer || answer.status >= 500 || told.error?.code === 'rate_limited';
      if (!passing) throw new Refused(failures[told.error?.code] ?? told.error?.message ?? words.failed, told.error, answer.status);
      if (wait === null) throw new Refused(answer ? failures[told.error?.code] ?? told.error?.message ?? words.failed : words.lost);
      show(item, answer ? words.waiting : words.offline);
      const asked = Number(answer?.headers.get('Retry-After')) * 1000;
      await pause(asked > 0 ? Math.min(asked, 60_000) : wait, item.stop.signal);
    }
    return null;
  };

  const show = (item, text) => { item.step.textContent = text; };

  const bytes = (number) => (number < 1 << 20 ? `${Math.ceil(number / 1024)} KB` : `${(number / (1 << 20)).toFixed(1)} MB`);

  const at = (item, offset) => {
    item.bar.value = item.file.size ? (100 * offset) / item.file.size : 0;
    show(item, `${words.sending} ${bytes(offset)} / ${bytes(item.file.size)}`);
  };

  // Without a secure connection browsers calculate no checksums; then nothing can be gone on with.
  const checksum = async (file) => {
    if (!globalThis.crypto?.subtle) return '';
    const digest = await crypto.subtle.digest('SHA-256', await file.arrayBuffer());
    return [...new Uint8Array(digest)].map((one) => one.toString(16).padStart(2, '0')).join('');
  };

  const begin = async (item) => {
    const tags = (part('tags')?.value ?? '').split(/[,，]/).map((one) => one.trim()).filter(Boolean);
    const body = { name: item.file.name, size: item.file.size, sha256: await checksum(item.file) };
    if (replaces) body.replaces = replaces;
    else Object.assign(body, { tags: [...new Set(tags)], metadata: item.folder ? { folder: item.folder } : {} });
    return call(item, 'POST', place, JSON.stringify(body), { 'Content-Type': 'application/json' });
  };

  const piece = async (item, id, offset) => {
    const headers = { 'Content-Type': 'application/octet-stream', 'Upload-Offset': String(offset) };
    try {
      return await call(item, 'PATCH', `${place}/${id}`, item.file.slice(offset, offset + limits.piece), headers);
    } catch (error) {
      // The answer to this piece was lost, or another tab sends the same file.
      if (error.code === 'edited_meanwhile') return { upload: { offset: error.details.offset }, document: null };
      throw error;
    }
  };

  const send = async (item) => {
    if (!item.file.size) throw new Refused(words.empty);
    if (item.file.size > limits.most) throw new Refused(`${words.large} ${bytes(limits.most)}`);
    show(item, words.checking);
    const upload = await begin(item);
    item.id = upload.id;
    let { offset } = upload;
    if (offset) show(item, words.resumed);
    for (;;) {
      at(item, offset);
      const answer = await piece(item, upload.id, offset);
      if (answer.document) return answer.document;
      offset = answer.upload.offset;
    }
  };

  const button = (item, text, act) => {
    const made = document.createElement('button');
    made.type = 'button';
    made.className = 'quiet';
    made.textContent = text;
    const name = document.createElement('span');
    name.className = 'skip';
    name.textContent = ` ${item.file.name}`;
    made.append(name);
    made.addEventListener('click', act);
    item.buttons.append(made);
  };

  const piece_of = (item, tag, kind, data) => {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    if (data) made.dataset[data] = '';
    item.row.append(made);
    return made;
  };

  const row = (item) => {
    item.row = document.createElement('li');
    item.row.dataset.testid = 'upload';
    piece_of(item, 'span', 'upload-name').textContent = (item.folder ? `${item.folder}/` : '') + item.file.name;
    item.badge = piece_of(item, 'span', 'badge', 'state');
    item.bar = piece_of(item, 'progress', '', 'progress');
    item.bar.max = 100;
    item.bar.value = 0;
    item.bar.setAttribute('aria-label', item.file.name);
    item.step = piece_of(item, 'span', 'sub', 'step');
    item.error = piece_of(item, 'span', 'field-error', 'error');
    item.error.hidden = true;
    item.buttons = piece_of(item, 'span', 'upload-buttons');
    part('list').append(item.row);
  };

  const sum = () => {
    const count = (state) => [...all].filter((one) => one.state === state).length;
    const open = count('waiting') + count('sending');
    part('summary').textContent = all.size === 0 ? '' : open ? `${words.left} ${open}` : count('failed') ? words.some_failed : words.all_sent;
  };

  const become = (item, state, text = '') => {
    item.state = state;
    item.badge.textContent = { waiting: words.waiting, sending: words.sending, failed: words.states.failed, sent: words.states.queued }[state];
    item.badge.classList.toggle('bad', state === 'failed');
    item.bar.hidden = state === 'failed';
    item.error.textContent = text;
    item.error.hidden = !text;
    item.buttons.replaceChildren();
    if (state === 'failed') button(item, words.again, () => enqueue(item));
    if (state === 'failed') button(item, words.remove, () => forget(item));
    if (state === 'waiting' || state === 'sending') button(item, words.cancel, () => forget(item));
    sum();
  };

  // Gone from the list, and what has arrived of it from the server.
  const forget = (item) => {
    item.stop.abort();
    all.delete(item);
    item.row.remove();
    if (queue.includes(item)) queue.splice(queue.indexOf(item), 1);
    if (item.id) fetch(`${place}/${item.id}`, { method: 'DELETE', headers: { 'X-CSRFToken': csrf }, keepalive: true }).catch(() => {});
    sum();
  };

  const work = async (item) => {
    become(item, 'sending');
    try {
      const made = await send(item);
      item.id = null;
      become(item, 'sent');
      item.row.dataset.document = made.id;
      document.dispatchEvent(new CustomEvent('document-arrived', { detail: made }));
    } catch (error) {
      if (!all.has(item)) return;
      show(item, '');
      become(item, 'failed', error instanceof Refused ? error.message : words.failed);
    } finally {
      next();
    }
  };

  const next = () => {
    while (queue.length && [...all].filter((one) => one.state === 'sending').length < AT_ONCE) work(queue.shift());
  };

  const enqueue = (item) => {
    item.stop = new AbortController();
    become(item, 'waiting');
    queue.push(item);
    next();
  };

  const add = (file, folder = '') => {
    if (file.name.startsWith('.')) return; // what systems leave in folders
    const item = { file, folder, id: null };
    all.add(item);
    row(item);
    enqueue(item);
  };

  const walk = async (entry, folder) => {
    if (entry.isFile) {
      add(await new Promise((resolve, reject) => { entry.file(resolve, reject); }), folder);
      return;
    }
    const reader = entry.createReader();
    const inside = folder ? `${folder}/${entry.name}` : entry.name;
    for (;;) { // a folder is read in parts, until one is empty
      const entries = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
      if (!entries.length) return;
      for (const one of entries) await walk(one, inside);
    }
  };

  for (const input of drop.querySelectorAll('[data-files]')) {
    input.addEventListener('change', () => {
      for (const file of input.files) add(file, file.webkitRelativePath.split('/').slice(0, -1).join('/'));
      input.value = '';
    });
  }
  let over = 0; // dragging over a child leaves its parent
  const mark = (by) => { over = Math.max(0, over + by); drop.classList.toggle('over', over > 0); };
  drop.addEventListener('dragenter', (event) => { event.preventDefault(); mark(1); });
  drop.addEventListener('dragleave', () => mark(-1));
  drop.addEventListener('dragover', (event) => event.preventDefault());
  drop.addEventListener('drop', (event) => {
    event.preventDefault();
    mark(-over);
    const items = [...event.dataTransfer.items].filter((one) => one.kind === 'file');
    const entries = items.map((one) => one.webkitGetAsEntry?.() ?? one.getAsFile()).filter(Boolean);
    for (const one of replaces ? entries.slice(0, 1) : entries) {
      if (one instanceof File) add(one);
      else walk(one, '').catch(() => {});
    }
  });
  window.addEventListener('beforeunload', (event) => {
    if ([...all].some((one) => one.state === 'sending' || one.state === 'waiting')) event.preventDefault();
  });
  part('choose').hidden = false;
})();
