// What the operator tells people, as bars that can be closed. On the pages of the portal and of the chat alike, and
// asked for again now and then, because a chat stays open for days. Texts are only ever text.
(() => {
  'use strict';
  const place = document.querySelector('[data-notices]');
  if (!place) return;
  const EVERY = 120_000;
  const KEY = 'notices-closed';

  const closed = () => {
    try { return JSON.parse(localStorage.getItem(KEY) ?? '[]'); } catch { return []; }
  };
  const close = (id) => {
    try { localStorage.setItem(KEY, JSON.stringify([...closed(), id].slice(-50))); } catch { /* until the next page */ }
    hidden.add(id);
  };
  const hidden = new Set();

  const element = (name, fields, ...children) => {
    const made = Object.assign(document.createElement(name), fields);
    made.append(...children);
    return made;
  };

  const bar = ({ id, level, title, text }) => {
    const said = element('p', {}, element('strong', { textContent: title }), ...(text ? [` ${text}`] : []));
    const button = element('button', { type: 'button', textContent: place.dataset.closeLabel });
    const made = element('div', { className: `broadcast ${level}` }, said, button);
    made.setAttribute('role', level === 'critical' ? 'alert' : 'status');
    made.dataset.testid = 'notice';
    made.dataset.id = id;
    button.addEventListener('click', () => { close(id); made.remove(); });
    return made;
  };

  const show = (notices) => {
    const known = new Set(closed());
    const wanted = notices.filter(({ id }) => !known.has(id) && !hidden.has(id));
    const there = new Map([...place.children].map((one) => [one.dataset.id, one]));
    const same = wanted.length === there.size && wanted.every(({ id }) => there.has(id));
    if (!same) place.replaceChildren(...wanted.map(bar)); // those that are there are not read out again
  };

  const ask = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch('/api/v1/notices', { headers: { Accept: 'application/json' } });
      if (answer.ok) show((await answer.json()).notices);
    } catch { /* offline: asked again later */ }
  };

  ask();
  setInterval(ask, EVERY);
  document.addEventListener('visibilitychange', ask);
})();
