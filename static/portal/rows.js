// One more row of a set of forms. Everything works without this: two empty rows are always there.
(() => {
  'use strict';
  for (const rows of document.querySelectorAll('[data-rows]')) {
    const part = rows.parentElement;
    const add = part.querySelector('[data-add]');
    const row = part.querySelector('template[data-row]');
    const total = document.querySelector(`[name="${rows.dataset.rows}-TOTAL_FORMS"]`);
    const most = Number(document.querySelector(`[name="${rows.dataset.rows}-MAX_NUM_FORMS"]`)?.value ?? 0);
    if (!add || !row || !total) continue;
    add.hidden = Number(total.value) >= most;
    add.addEventListener('click', () => {
      rows.insertAdjacentHTML('beforeend', row.innerHTML.replaceAll('__prefix__', total.value));
      total.value = String(Number(total.value) + 1);
      add.hidden = Number(total.value) >= most;
      rows.lastElementChild.querySelector('input')?.focus();
    });
  }
})();
