"""An operator's day in a browser: how it stands, a customer, a job that failed, and word to everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection
from playwright.async_api import Page, expect

from accounts import proof
from accounts.models import Session, User
from accounts.sessions import SessionStore
from bench import showcase
from tenants import jobs, scope
from tenants.models import Plan
from tests.conftest import PASSWORD, Platform, in_thread
from tests.console import EMAIL
from tests.e2e.test_every_page import AXE, LOOK, RULES

PHONE = {"width": 390, "height": 800}


def prepared(db: Platform) -> None:
    showcase.fill(days=8)
    with scope.bind(db.acme):
        job = jobs.enqueue("knowledge.ingest")
    with scope.platform():
        with connection.cursor() as cursor:
            cursor.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE id = %s", [job])
        User.objects.create_superuser(EMAIL, PASSWORD)


def all_proofs_grow_old() -> None:
    with scope.platform():
        for session in Session.objects.all():
            store = SessionStore(session.session_key)
            if proof.PROVEN_AT in store:
                store[proof.PROVEN_AT] -= proof.SECONDS + 1
                store.save()


def plan(slug: str) -> Plan:
    with scope.platform():
        return Plan.objects.get(slug=slug)


async def sign_in(page: Page, address: str) -> None:
    await page.goto(f"{address}/admin/")
    await page.fill("input[name=email]", EMAIL)
    await page.fill("input[name=password]", PASSWORD)
    await page.get_by_test_id("sign-in").click()
    await page.get_by_test_id("dashboard").wait_for()


async def faults_of(page: Page) -> list[str]:
    """What is wrong with our own part of a page; the theme's is not ours."""
    await page.evaluate(AXE.read_text())
    look = LOOK.replace("axe.run(document,", 'axe.run(".console",')
    found: list[str] = await page.evaluate(look, RULES)
    if await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("something sticks out")
    return [f"{page.url}: {one}" for one in found]


async def test_an_operators_day(visit: Callable[..., Any], site: Any, db: Platform) -> None:
    in_thread(lambda: prepared(db))
    operator = await visit(slug="")
    page, home = operator.page, site.url()
    await sign_in(page, home)
    await operator.shot("console")
    faults = await faults_of(page)

    # what is to be done leads to the job, which is retried
    await page.locator("[data-testid=todo] [data-part=failed] a").click()
    await page.locator("#result_list tbody a").first.click()
    await page.get_by_role("link", name="Retry").click()
    await page.get_by_role("button", name="Retry").click()
    await expect(page.get_by_text("waits again")).to_be_visible()

    # a customer
    await page.goto(f"{home}/admin/tenants/tenant/")
    await page.locator("#result_list").get_by_role("link", name="acme", exact=True).click()
    await page.get_by_test_id("about").wait_for()
    await operator.shot("console-tenant")
    faults += await faults_of(page)
    await page.set_viewport_size(PHONE)
    faults += await faults_of(page)
    await page.goto(f"{home}/admin/")
    faults += await faults_of(page)
    await page.set_viewport_size({"width": 1280, "height": 800})
    assert faults == []

    # a plan, whose form is sent when the proof of who they are has grown old: nothing that was typed is lost
    await page.goto(f"{home}/admin/tenants/plan/pro/change/")
    await page.fill("input[name=tokens_per_day]", "123456")
    in_thread(all_proofs_grow_old)
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("What you have sent is done then.")).to_be_visible()
    await operator.shot("console-proof")
    await page.fill("input[name=proof]", PASSWORD)
    await page.get_by_role("button", name="Go on").click()
    await page.locator("#result_list").wait_for()
    assert in_thread(lambda: plan("pro").tokens_per_day) == 123456

    # word to everybody: as text, in the language of who reads, until they close it
    await page.goto(f"{home}/admin/tenants/notice/add/")
    await page.fill("input[name=title_en]", "Maintenance <b>tonight</b>")
    await page.fill("input[name=title_zh]", "今晚维护")
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.locator("#result_list").wait_for()
    member = await visit("member")
    for address in ("/chat/", "/settings/"):
        await member.page.goto(member.url + address)
        await expect(member.at("notice")).to_have_text("Maintenance <b>tonight</b>Close")
        await member.shot(f"notice{address.replace('/', '-')}")
    chinese = await visit("owner", locale="zh-CN")
    await expect(chinese.at("notice")).to_contain_text("今晚维护")
    await member.at("notice").get_by_role("button").click()
    await expect(member.at("notice")).to_have_count(0)
    async with member.page.expect_response("**/api/v1/notices"):
        await member.page.goto(f"{member.url}/chat/")
    await member.at("composer").wait_for()
    await expect(member.at("notice")).to_have_count(0)
    assert member.errors == []
