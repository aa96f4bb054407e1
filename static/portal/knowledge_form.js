// A new base's short name follows its name. Everything works without this.
(() => {
  'use strict';
  const named = document.querySelector('form[data-named]');
  if (!named) return;
  const { name, slug } = named.elements;
  const proposed = () => name.value.normalize('NFKD').toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 60).replace(/-+$/, '');
  let own = slug.value !== '' && slug.value !== proposed();
  slug.addEventListener('input', () => { own = slug.value !== ''; });
  name.addEventListener('input', () => { if (!own) slug.value = proposed(); });
})();
