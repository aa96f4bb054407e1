// Passkeys: asks the server for a challenge, the browser for a key, and sends the answer with the form.
(() => {
  'use strict';
  const form = document.querySelector('[data-passkey-form]');
  if (!form || !window.PublicKeyCredential || !navigator.credentials) return;
  for (const part of document.querySelectorAll('[data-passkey-only]')) part.hidden = false;
  for (const part of document.querySelectorAll('[data-passkey-none]')) part.hidden = true;
  const problem = form.querySelector('[data-passkey-problem]');

  const toBytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (char) => char.charCodeAt(0));
  const toText = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  const listed = (keys) => (keys || []).map((key) => ({ ...key, id: toBytes(key.id) }));

  const asJson = (credential) => {
    const answer = { clientDataJSON: toText(credential.response.clientDataJSON) };
    for (const name of ['attestationObject', 'authenticatorData', 'signature', 'userHandle']) {
      if (credential.response[name]) answer[name] = toText(credential.response[name]);
    }
    return JSON.stringify({
      id: credential.id,
      rawId: toText(credential.rawId),
      type: credential.type,
      clientExtensionResults: credential.getClientExtensionResults(),
      response: answer,
    });
  };

  const begin = async (address) => {
    const response = await fetch(new URL(address, form.action), { method: 'POST', body: new FormData(form) });
    const found = await response.json();
    if (!response.ok) throw new Error(found.message);
    return found.publicKey;
  };

  const run = async (address, ceremony) => {
    problem.textContent = '';
    let options;
    try {
      options = await begin(address);
    } catch (error) {
      problem.textContent = error.message || problem.dataset.failed;
      return;
    }
    try {
      form.elements.credential.value = asJson(await ceremony(options));
    } catch {
      problem.textContent = problem.dataset.failed; // the person has cancelled, or the browser knows no key
      return;
    }
    form.submit();
  };

  const make = (options) =>
    navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: toBytes(options.challenge),
        user: { ...options.user, id: toBytes(options.user.id) },
        excludeCredentials: listed(options.excludeCredentials),
      },
    });
  const show = (options) =>
    navigator.credentials.get({
      publicKey: {
        ...options,
        challenge: toBytes(options.challenge),
        allowCredentials: listed(options.allowCredentials),
      },
    });

  if (form.dataset.passkeyAdd) {
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (form.reportValidity()) run(form.dataset.passkeyAdd, make);
    });
  }
  const button = form.querySelector('[data-passkey-show]');
  button?.addEventListener('click', () => run(button.dataset.passkeyShow, show));
})();
