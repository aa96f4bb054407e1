"""Periodic work on the ledger; each job may be killed anywhere and is then taken up again."""

from __future__ import annotations

from tenants import scope
from tenants.jobs import every
from usage import alerts, chain, invoices, summaries


@every("* * * * * */5", "usage.seal")
async def seal() -> int:
    """Give new entries their place in the chain; every five seconds."""
    return await scope.run_patiently(chain.seal_all)


@every("* * * * * 20", "usage.warn")
async def warn() -> int:
    """Tell people of limits at their end, and operators of vendors that took too much; every minute."""
    await scope.run_patiently(alerts.overruns_tell)
    return await scope.run_patiently(alerts.warn_all)


@every("13 * * * *", "usage.verify_newest")
async def verify_newest() -> None:
    """Seal what was missed, if anything ever is, and verify what was sealed since the last time."""
    await scope.run_patiently(chain.seal_all, every=True)
    await scope.run_patiently(chain.check_all, newest=True)


@every("43 3 * * *", "usage.verify")
async def verify() -> None:
    """Verify the ledgers from their first entries, and the invoices."""
    await scope.run_patiently(chain.check_all, newest=False)


@every("*/20 * * * *", "usage.invoices")
async def close_months() -> int:
    """Draft the invoices of the month that is over, and issue them where the operator wants that."""
    return await scope.run_patiently(invoices.months_close)


@every("*/10 * * * *", "usage.fold")
async def fold() -> int:
    """Add up the days that are over, for charts."""
    return await scope.run_patiently(summaries.fold_all)
