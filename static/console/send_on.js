// The form that waited until the operator had proven who they are goes where it was sent first (paas/console/site.py).
document.querySelector('form[data-send-on]').submit();
