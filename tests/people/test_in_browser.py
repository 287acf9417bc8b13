"""A team by clicks: made with a member and a role on one pool, seen by the member, and taken away again."""

from typing import Any

import pytest
from browsing import Browsing
from django.contrib.auth.models import Group, User
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from storagemgr.access.models import Grant

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def browsing(live_server: Any, chromium: Browser) -> Any:
    found = Browsing(chromium, live_server.url)
    yield found
    found.close()


@pytest.fixture
def two_pools(make_host: Any, make_pool: Any) -> Any:
    host = make_host("kvm1")
    return make_pool("archive", host), make_pool("secret", host)


@pytest.fixture
def ada(make_user: Any) -> User:
    user: User = make_user("ada", "administrator")
    User.objects.filter(pk=user.pk).update(last_login=timezone.now())
    return user


def words_of(page: Page, path: str) -> str:
    page.goto(path)
    return page.inner_text("body")


def test_a_team_is_made_seen_and_taken_away(
    browsing: Browsing, ada: User, make_user: Any, two_pools: Any
) -> None:
    vera = make_user("vera")
    archive, secret = two_pools
    admin, member = browsing.as_(ada), browsing.as_(vera)
    assert "archive" not in words_of(member, "/volumes/")
    admin.goto("/people/teams/new/")
    admin.get_by_label("Name", exact=True).fill("Nights")
    admin.get_by_label("Find: Members").press_sequentially("ver")
    expect(admin.locator("#found-members label")).to_have_count(1)
    admin.get_by_label("vera").check()
    admin.get_by_label("Operator", exact=False).first.check()
    admin.get_by_label("Find: Where").press_sequentially("arch")
    expect(admin.locator("#found-place label")).to_have_count(1)
    admin.get_by_label("archive on kvm1").check()
    admin.get_by_label("Find: Where").fill("nothing like it")
    # What was chosen stays.
    expect(admin.locator("#found-place input:checked")).to_have_count(1)
    admin.get_by_role("button", name="Make the team").click()
    expect(admin.get_by_role("heading", name="Nights", exact=True)).to_be_visible()
    expect(admin.locator("#main")).to_contain_text("Operators of team Nights can: see the pool")
    member.goto(f"/pools/{archive.pk}/")
    expect(member.get_by_role("heading", name="archive", exact=True)).to_be_visible()
    for path in ("/", "/volumes/", "/hosts/", "/?q=secret"):
        assert "secret" not in words_of(member, path).replace("q=secret", "")
    assert "not" in words_of(member, f"/pools/{secret.pk}/").lower()
    member.goto(f"/pools/{archive.pk}/")
    admin.get_by_role("link", name="Take away Operator").click()
    admin.get_by_role("button", name="Take it away").click()
    expect(admin.locator("#main")).to_contain_text("was taken from team Nights")
    expect(member.locator("#main")).not_to_contain_text("archive", timeout=8000)


def test_a_team_is_made_without_javascript(
    browsing: Browsing, ada: User, make_user: Any, two_pools: Any
) -> None:
    make_user("vera")
    page = browsing.as_(ada, java_script_enabled=False)
    page.goto("/people/teams/new/")
    page.get_by_label("Name", exact=True).fill("Nights")
    page.get_by_label("Find: Members").fill("ver")
    page.get_by_role("button", name="Find").first.click()
    assert page.locator("#found-members label").count() == 1
    page.get_by_label("vera").check()
    page.get_by_label("Find: Where").fill("secret")
    # The Enter key asks for the team, and what was looked for is not dropped silently.
    page.get_by_label("Find: Where").press("Enter")
    expect(page.locator("#errors")).to_contain_text("Where")
    assert page.locator("#found-place label").count() == 1
    assert page.get_by_label("vera").is_checked()
    page.get_by_label("Find: Where").fill("")
    page.get_by_label("Find: Where").press("Enter")
    page.wait_for_url("**/people/teams/*/")
    group = Group.objects.get(name="Nights")
    assert [user.username for user in group.user_set.all()] == ["vera"]
    assert not Grant.objects.filter(group=group).exists()
