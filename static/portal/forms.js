// Forms: what is wrong is said before it is sent, once is enough, and what was typed is not lost. All works without.
(() => {
  'use strict';
  const KEPT = 'paas.typed';
  const person = document.querySelector('[data-person]')?.dataset.person;
  const here = location.pathname + location.search;

  // --- what is wrong ---------------------------------------------------------------------------------
  const wrong = (field) => field.willValidate && !field.validity.valid && field.checkVisibility();

  const complain = (field) => {
    const said = document.createElement('p');
    said.className = 'field-error';
    said.setAttribute('role', 'alert');
    said.dataset.own = '';
    said.textContent = field.validationMessage;
    said.id = `${field.id || field.name}_problem`;
    field.setAttribute('aria-errormessage', said.id);
    field.setAttribute('aria-invalid', 'true');
    (field.closest('.field') ?? field.parentElement).append(said);
  };

  const valid = (form) => {
    for (const old of form.querySelectorAll('[data-own]')) old.remove();
    const found = [...form.elements].filter(wrong);
    const names = new Set();
    for (const field of found) {
      if (!names.has(field.name)) complain(field);
      names.add(field.name);
    }
    found[0]?.focus();
    return !found.length;
  };

  document.addEventListener('input', ({ target }) => {
    if (target.getAttribute('aria-invalid') !== 'true' || !target.validity?.valid) return;
    target.removeAttribute('aria-invalid');
    target.closest('.field')?.querySelector('[data-own]')?.remove();
  });

  // A form that came back: the first field that is wrong has the focus, so that it is in sight.
  document.querySelector('main [aria-invalid="true"]')?.focus();

  // --- what was typed --------------------------------------------------------------------------------
  // Kept in this tab until the next page, and given back only where the person had to sign in between. Never secrets.
  const typed = (form) => [...form.elements].filter((field) => field.name && !field.matches(
    'button, fieldset, output, [type=password], [type=hidden], [type=file], [type=submit], [autocomplete*=password], [autocomplete=one-time-code]'));

  const keep = (form) => {
    const fields = typed(form).map((field) => [field.name, field.value, field.checked ?? null]);
    if (!person || !fields.length) return;
    sessionStorage.setItem(KEPT, JSON.stringify({ person, page: here, action: form.getAttribute('action'), fields }));
  };

  const giveBack = ({ action, fields }) => {
    const form = [...document.forms].find((one) => one.getAttribute('action') === action && typed(one).length === fields.length);
    if (!form) return;
    typed(form).forEach((field, number) => {
      const [name, value, checked] = fields[number];
      if (field.name !== name) return;
      if (checked === null || !field.matches('[type=checkbox], [type=radio]')) field.value = value;
      else if (field.value === value) field.checked = checked;
    });
    const said = document.querySelector('[data-restored]');
    if (said) said.hidden = false;
  };

  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? 'null');
    if (kept && !person) {
      sessionStorage.setItem(KEPT, JSON.stringify({ ...kept, interrupted: true })); // this is the page to sign in
    } else if (kept) {
      sessionStorage.removeItem(KEPT);
      if (kept.interrupted && kept.person === person && kept.page === here) giveBack(kept);
    }
  } catch {
    // A browser that stores nothing keeps nothing.
  }

  // --- sending, once ---------------------------------------------------------------------------------
  const offline = document.querySelector('[data-offline]');
  const sayOffline = () => { if (offline) offline.hidden = navigator.onLine; };
  addEventListener('online', sayOffline);
  addEventListener('offline', sayOffline);
  sayOffline();

  document.addEventListener('submit', (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.getAttribute('method')?.toLowerCase() !== 'post') return;
    const stop = !navigator.onLine || form.dataset.sent
      || (form.noValidate && !event.submitter?.formNoValidate && !valid(form));
    sayOffline();
    if (stop) {
      event.preventDefault();
      return;
    }
    try { keep(form); } catch { /* as above */ }
    form.dataset.sent = 'yes';
    setTimeout(() => { delete form.dataset.sent; }, 10_000); // an answer that is a file leaves the page as it is
  });
  addEventListener('pageshow', () => { for (const form of document.forms) delete form.dataset.sent; });

  // --- what was done ---------------------------------------------------------------------------------
  for (const close of document.querySelectorAll('[data-close]')) {
    close.hidden = false;
    close.addEventListener('click', () => close.closest('.notice').remove());
  }
})();
