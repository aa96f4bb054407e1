// Forms of knowledge: none is sent twice, and a new base's short name follows its name. Everything works without this.
(() => {
  'use strict';
  for (const form of document.querySelectorAll('form[data-once]')) {
    form.addEventListener('submit', (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = '1';
    });
  }
  // A page that comes back from the browser's memory can be sent again.
  window.addEventListener('pageshow', () => {
    for (const form of document.querySelectorAll('form[data-sent]')) delete form.dataset.sent;
  });

  const named = document.querySelector('form[data-named]');
  if (!named) return;
  const { name, slug } = named.elements;
  const proposed = () => name.value.normalize('NFKD').toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 60).replace(/-+$/, '');
  let own = slug.value !== '' && slug.value !== proposed();
  slug.addEventListener('input', () => { own = slug.value !== ''; });
  name.addEventListener('input', () => { if (!own) slug.value = proposed(); });
})();
