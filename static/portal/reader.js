// The passage that was cited comes into sight.
document.querySelector('[data-cited]')?.scrollIntoView({ block: 'center' });
document.querySelector('[data-cited]')?.focus({ preventScroll: true });
