// A new agent's names follow the chosen beginning until somebody types their own. Everything works without this.
(() => {
  'use strict';
  const form = document.querySelector('[data-new-agent]');
  if (!form) return;
  const { name, slug } = form.elements;
  const proposed = () => name.value.normalize('NFKD').toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 60);
  let ownSlug = slug.value !== '' && slug.value !== proposed();
  let ownName = name.value !== '' && ![...form.querySelectorAll('[data-name]')].some((one) => one.dataset.name === name.value);

  const follow = () => {
    // Of a name in Chinese nothing is left: then it is called as its beginning is.
    if (!ownSlug) slug.value = proposed() || form.elements.template.value;
  };
  slug.addEventListener('input', () => { ownSlug = slug.value !== ''; });
  name.addEventListener('input', () => {
    ownName = name.value !== '';
    follow();
  });
  form.addEventListener('change', (event) => {
    if (event.target.name !== 'template') return;
    if (!ownName) name.value = event.target.closest('[data-name]').dataset.name;
    follow();
  });
  follow();
})();
