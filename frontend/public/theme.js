// Runs before the first paint so that a remembered theme never flashes the other one.
// Kept out of the bundle because a module script is deferred; no inline script because of the CSP.
(function () {
  var theme = null;
  try {
    theme = localStorage.getItem('theme');
  } catch (error) {
    // Storage is blocked: the system's theme is used.
  }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
})();
