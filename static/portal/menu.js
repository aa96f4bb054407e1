// The side bar's entries are behind a button on narrow screens. In the head and not deferred, so that nothing jumps.
(() => {
  'use strict';
  document.documentElement.dataset.menu = 'closed';
  document.addEventListener('click', (event) => {
    const button = event.target.closest?.('[data-menu]:is(button)');
    if (!button) return;
    const open = button.getAttribute('aria-expanded') !== 'true';
    button.setAttribute('aria-expanded', String(open));
    document.documentElement.dataset.menu = open ? 'open' : 'closed';
  });
})();
