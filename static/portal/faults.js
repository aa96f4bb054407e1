// A form that came back: the first field that is wrong has the focus, so that it is in sight.
document.querySelector('[aria-invalid="true"]')?.focus();
