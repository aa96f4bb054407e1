// A new schedule begins with the browser's own time zone.
const zone = document.querySelector('form[data-new-schedule] select[name=timezone]');
if (zone && zone.value === 'UTC') {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if ([...zone.options].some((option) => option.value === own)) zone.value = own;
}
