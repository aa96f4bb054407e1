// Copy buttons, and presets for a key's last day. Everything works without this.
(() => {
  'use strict';
  for (const button of document.querySelectorAll('[data-copy]')) {
    const source = document.getElementById(button.dataset.copy);
    if (!source) continue;
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener('click', async () => {
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = button.dataset.copied;
        setTimeout(() => { button.textContent = label; }, 2000);
      } catch {
        // Without a secure connection browsers give no clipboard: select it, the keyboard copies.
        getSelection().selectAllChildren(source);
      }
    });
  }

  for (const row of document.querySelectorAll('[data-days-for]')) {
    const field = document.getElementById(row.dataset.daysFor);
    if (!field) continue;
    row.hidden = false;
    row.addEventListener('click', (event) => {
      const days = event.target.closest('[data-days]')?.dataset.days;
      if (days === undefined) return;
      const day = new Date(Date.now() + Number(days) * 86_400_000);
      field.value = days === '' ? '' : day.toISOString().slice(0, 10);
    });
  }
})();
