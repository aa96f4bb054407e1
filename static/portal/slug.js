// The address of a workspace: proposed from its name, and looked up while it is typed. Everything works without this.
(() => {
  'use strict';
  const field = document.querySelector('[data-slug]');
  const answer = document.querySelector('[data-slug-answer]');
  if (!field || !answer) return;
  const source = document.querySelector('[data-slug-source]');
  const hint = answer.textContent;
  let own = field.value !== '';
  let timer = 0;
  let newest = 0;

  const show = (text, state) => {
    answer.textContent = text;
    answer.dataset.state = state;
  };

  const lookUp = (query) => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const number = ++newest;
      try {
        const response = await fetch(`${field.dataset.slug}?${new URLSearchParams(query)}`);
        const found = await response.json();
        if (number !== newest || !response.ok) return;
        if (!own) field.value = found.slug;
        if (found.slug === '') show(hint, '');
        else if (found.free) show(answer.dataset.free, 'good');
        else show([found.message, ...found.suggestions].join(' · '), 'bad');
      } catch {
        show(hint, '');
      }
    }, 250);
  };

  field.addEventListener('input', () => {
    own = field.value !== '';
    if (own) lookUp({ slug: field.value });
    else show(hint, '');
  });
  source?.addEventListener('input', () => {
    if (!own && source.value.trim() !== '') lookUp({ name: source.value });
  });
})();
