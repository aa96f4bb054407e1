// The side bar: behind a button on narrow screens, and with the present page in sight. Not deferred, so nothing jumps.
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
  document.addEventListener('DOMContentLoaded', () => {
    document.querySelector('.side nav [aria-current]')?.scrollIntoView({ block: 'nearest' });
  });
})();
