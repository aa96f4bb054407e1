// A model's name is suggested from the provider that is chosen beside it. Everything works without this.
(() => {
  'use strict';
  const lists = new Map([...document.querySelectorAll('datalist[data-provider]')].map((list) => [list.dataset.provider, list.id]));
  for (const pair of document.querySelectorAll('[data-models-of]')) {
    const provider = document.getElementById(pair.dataset.modelsOf);
    const model = pair.querySelector('[data-model]');
    if (!provider || !model) continue;
    const follow = () => {
      const list = lists.get(provider.value);
      if (list) model.setAttribute('list', list);
      else model.removeAttribute('list');
    };
    provider.addEventListener('change', follow);
    follow();
  }
})();
