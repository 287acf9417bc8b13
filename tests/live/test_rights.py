"""A right that is taken away: while the page is open, and while a job waits for its turn."""

import pytest
from browsing import breaches
from django.contrib.auth.models import Group, User
from playwright.sync_api import expect
from stack import wait_for

from storagemgr.access.models import Grant
from storagemgr.jobs.models import Job

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def member(make_user, host_pool):
    team = Group.objects.create(name="Web")
    Grant.objects.create(group=team, role="operator", host=host_pool.host, pool_uuid=host_pool.uuid)
    tina: User = make_user("tina")
    tina.groups.add(team)
    return tina


@pytest.fixture
def host_pool(pool, browsing):
    return pool()


def test_it_ends_what_waits_and_closes_the_page(browsing, daemon, host_pool, member, administrator):
    User.objects.filter(pk=administrator.pk).update(password="argon2$set")
    page = browsing.as_(member)
    daemon.freeze()
    try:
        page.goto(f"/pools/{host_pool.pk}/volumes/new/")
        page.get_by_label("Name", exact=True).fill("one.raw")
        page.get_by_label("Size", exact=True).fill("8 MiB")
        page.get_by_role("button", name="Create").click()
        wait_for(Job.objects.filter(operation="volume.create", state="running").exists, 20, "the first job")
        page.goto(host_pool.get_absolute_url())
        page.get_by_role("button", name="Refresh").click()
        waiting = wait_for(Job.objects.filter(operation="pool.refresh", requester_name="tina").first, 10)
        expect(page.locator("#main")).to_contain_text("Refresh")

        chief = browsing.as_(User.objects.get(pk=administrator.pk))
        chief.goto(f"/people/teams/{Group.objects.get().pk}/")
        chief.get_by_role("link", name="Take away Operator").click()
        chief.get_by_role("button", name="Take it away").click()
        expect(chief.locator("#main")).to_contain_text("was taken from team Web")
        expect(page.get_by_role("heading", level=1)).to_have_text("Nothing is here", timeout=8000)
    finally:
        daemon.thaw()
    ended = wait_for(
        lambda: Job.objects.filter(pk=waiting.pk).exclude(state__in=Job.ACTIVE).first(), 40, "the end"
    )
    assert (ended.state, ended.error_code) == ("failed", "not_permitted_any_more")
    for path in (f"/jobs/{waiting.pk}/", host_pool.get_absolute_url(), f"/pools/{host_pool.pk}/volumes/"):
        assert page.goto(path).status == 404
    page.goto("/jobs/")
    assert "Refresh" not in page.inner_text("main")
    assert not breaches(page)
