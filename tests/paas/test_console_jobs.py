"""Jobs in the console: seen without secrets, retried and cancelled by operators, with a row in the log."""

from __future__ import annotations

from typing import Any

from django.db import connection
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts.models import AuditEvent
from tenants import jobs, scope
from tests.conftest import Platform
from tests.console import Console, console  # noqa: F401 - the fixture

PLACE = "/admin/procrastinate/procrastinatejob"
SECRET = "sealed-letter-with-a-code"


def made(db: Platform) -> dict[str, int]:
    """A job of acme that failed, one of globex that waits, and a letter of the platform."""
    found = {}
    with scope.bind(db.acme):
        found["failed"] = jobs.enqueue("knowledge.ingest", queueing_lock="one")
    with scope.bind(db.globex):
        found["waits"] = jobs.enqueue("knowledge.ingest")
    found["letter"] = jobs.enqueue_platform("mail.send", sealed=SECRET)
    with scope.platform(), connection.cursor() as cursor:
        cursor.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE id = %s", [found["failed"]])
    return found  # type: ignore[return-value]


def status(job: int) -> str:
    return str(ProcrastinateJob.objects.get(pk=job).status)


def told() -> list[tuple[str, str]]:
    return list(AuditEvent.objects.filter(action__startswith="job.").order_by("seq").values_list("action", "target"))


def test_the_list_and_a_page(db: Platform, console: Console) -> None:
    ids = made(db)
    with scope.platform():
        for path in ("", f"/{ids['letter']}/change"):
            page = console.client.get(f"{PLACE}{path}/").content.decode()
            assert "mail.send" in page
            assert SECRET not in page, path
        assert "sealed: hidden" in console.said(f"{PLACE}/{ids['letter']}/change")
        assert f"tenant_id: {db.acme.id}" in console.said(f"{PLACE}/{ids['failed']}/change")
        page = console.get(f"{PLACE}/{ids['failed']}/change").content.decode()
        assert ("/retry" in page, "/cancel" in page) == (True, False), "only what makes sense is offered"

        def shown(query: str) -> list[int]:
            listed: Any = console.client.get(f"{PLACE}/?{query}").context_data["cl"]
            return sorted(job.pk for job in listed.result_list)

        assert shown(f"tenant={db.acme.id}") == [ids["failed"]]
        assert shown("tenant=platform") == [ids["letter"]]
        assert shown("status__exact=todo") == sorted([ids["waits"], ids["letter"]])


def test_retried_and_cancelled(db: Platform, console: Console) -> None:
    ids = made(db)
    failed, waits = str(ids["failed"]), str(ids["waits"])
    with scope.platform():
        assert "knowledge.ingest" in console.said(f"{PLACE}/{failed}/retry")
        assert status(ids["failed"]) == "failed", "a page that asks does nothing"
        for path, job, now in ((f"{failed}/retry", "failed", "todo"), (f"{waits}/cancel", "waits", "cancelled")):
            assert console.post(f"{PLACE}/{path}").status_code == 302
            assert status(ids[job]) == now
        both = [("job.retried", failed), ("job.cancelled", waits)]
        assert told() == both
        for path, job, now in ((f"{failed}/retry", "failed", "todo"), (f"{waits}/cancel", "waits", "cancelled")):
            console.post(f"{PLACE}/{path}")  # a second time
            assert status(ids[job]) == now
        assert told() == both, "nothing was done, so nothing is told"
        for path in ("99999999/retry", "x/retry", f"{'9' * 30}/cancel"):
            assert console.post(f"{PLACE}/{path}").status_code == 404, path


def test_several_at_once_and_one_that_waits_already(db: Platform, console: Console) -> None:
    ids = made(db)
    with scope.bind(db.acme):
        assert jobs.enqueue("knowledge.ingest", queueing_lock="one") is not None
    chosen = {"action": "retry_chosen", "_selected_action": [str(one) for one in ids.values()]}
    with scope.platform():
        answer = console.client.post(f"{PLACE}/", chosen, follow=True)
        assert "One like it waits already." in answer.content.decode()
        assert (status(ids["failed"]), told()) == ("failed", [])
        console.client.post(f"{PLACE}/", chosen | {"action": "cancel_chosen"})
        assert [status(ids[one]) for one in ("failed", "waits", "letter")] == ["failed", "cancelled", "cancelled"]


def test_other_staff_does_nothing(db: Platform) -> None:
    ids = made(db)
    with scope.platform():
        staff = Console(superuser=False)
        for path in (f"{ids['failed']}/retry", f"{ids['waits']}/cancel"):
            assert staff.post(f"{PLACE}/{path}").status_code in (302, 403, 404)
        assert (status(ids["failed"]), status(ids["waits"]), told()) == ("failed", "todo", [])
