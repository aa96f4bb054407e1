"""The parts of the operator's console that stand on all rooms."""

from paas.console import jobs, notices, schemas, tenant_page  # noqa: F401 - register theirs
