"""Every page that the URL resolver knows: walked through with the Tab key, and read by axe-core in both themes,
at the widths of a desk and of a phone.

A new URL is opened here without a word about it; one that does not open, or is no page, needs one below.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from access import test_urls as table
from browsing import Browsing
from django.contrib.auth.models import User
from django.urls import get_resolver, reverse
from looking import CROSSED, faults_after_sending, look_at
from playwright.sync_api import Page

from pools.drafts.steps import TITLES
from pools.models import Pool, PoolDraft
from storagemgr.access.accounts import password_path
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from volumes.models import Volume

GIB = 1024**3
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
# What answers a GET, but with a file, a piece of a page, or the way to another page.
FILES = {"volumes:export", "volumes:export_pool", "people:audit_export", "mfa_download_recovery_codes"}
PIECES = {"jobs:strip"}
LEAD_ON = {"mfa_list_webauthn", "account_go_on", "account_sso", "openid_connect_callback", "pools:draft"}
NO_PAGES = table.POST_ONLY | {"theme"} | FILES | PIECES | LEAD_ON
# Who sees them; all others are there for an administrator with everything that proves who she is.
OF_THE_BARE = {"account_set_password", "mfa_activate_totp"}
AT_THE_DOOR = {"account_login", "account_forgotten", "account_reset_password_from_key", "mfa_authenticate"}
LISTS = ("pools:fleet", "volumes:all", "jobs:list", "hosts:list", "helpdesk:helpdesk")
# What of an address is not in the table: which rows were chosen, and all steps of a new pool.
CHOSEN = {"pools:selected": "pool", "volumes:selected": "volume"}


def addresses(things: dict[str, Any], names: set[str]) -> Iterator[str]:
    for name in sorted(names):
        row = table.TABLE[name]
        arguments = table.pk_of(row, things) if isinstance(row, tuple) else {}
        chosen = f"?{CHOSEN[name]}={things[CHOSEN[name]].pk}" if name in CHOSEN else ""
        yield reverse(name, kwargs=arguments | table.ARGUMENTS.get(name, {})) + chosen


def all_names() -> set[str]:
    """Without the operations, which the registry knows."""
    found = set(table.names(get_resolver().url_patterns)) - NO_PAGES
    return {name for name in found if table.TABLE[name][0] != "operation"}


@pytest.fixture
def page_of(browsing: Browsing) -> Callable[[User | None], Page]:
    def open_page(user: User | None) -> Page:
        page = browsing.as_(user)
        # A colour on its way from one theme to the other is neither.
        page.emulate_media(reduced_motion="reduce")
        return page

    return open_page


def test_for_an_administrator(things, ada, page_of):
    PoolDraft.objects.update(owner=ada)
    page, faults = page_of(ada), []
    for url in addresses(things, all_names() - OF_THE_BARE - AT_THE_DOOR):
        faults += look_at(page, url) + faults_after_sending(page)
    steps = [reverse("pools:draft_step", args=[things["draft"].pk, step]) for step in TITLES]
    for url in steps[1:]:
        faults += look_at(page, url)
    assert not faults, "\n".join(faults)


def test_for_who_may_only_look(things, viewer, page_of):
    names = {
        name
        for name in all_names()
        if table.TABLE[name][0] == "viewer" or table.TABLE[name] == table.SIGNED_IN
    }
    page, faults = page_of(viewer), []
    for url in addresses(things, {name for name in names if ":" in name}):
        faults += look_at(page, url, looks=CROSSED, walks=False)
    for url, status in (("/hosts/new/", 403), ("/pools/999999/", 404)):
        faults += look_at(page, url, status)
    assert not faults, "\n".join(faults)


def test_before_one_is_signed_in(ada, bare, page_of, live_server):
    page, faults = page_of(None), []
    link = password_path(ada)
    for url in (reverse("account_login"), reverse("account_forgotten"), link, link.replace("-", "-x")):
        faults += look_at(page, url) + faults_after_sending(page)
    page.goto(reverse("account_login"))
    page.get_by_label("Username").fill("ada")
    page.locator("input[type=password]").fill("correct horse 42")
    page.get_by_role("button", name="Sign in", exact=True).click()
    faults += look_at(page, reverse("mfa_authenticate")) + faults_after_sending(page)
    page = page_of(bare)
    for url in addresses({}, OF_THE_BARE):
        faults += look_at(page, url) + faults_after_sending(page)
    assert not faults, "\n".join(faults)


def test_operations(things, ada, page_of, make_host, make_pool, make_volume):
    """Each on a row of its own to which it applies."""
    PoolDraft.objects.update(owner=ada)
    page, faults = page_of(ada), []
    for operation in REGISTRY.values():
        row = things[operation.target._meta.model_name]
        if not operation.applies(row):
            host = make_host(operation.name)
            pool = make_pool(operation.name, host=host)
            fresh = {Host: host, Pool: pool, Volume: make_volume(pool=pool)}[operation.target]
            row = table._row_for(operation, fresh)
        url = table._operation_url(operation, row)
        faults += look_at(page, url, looks=CROSSED) + faults_after_sending(page)
    assert not faults, "\n".join(faults)


def test_in_every_state(ada, page_of, make_job, make_host, make_pool, make_volume):
    """Lists without rows, and with rows of which each has its own trouble; a job in each of its states."""
    page, faults = page_of(ada), []
    lists = [reverse(name) for name in LISTS]
    for url in lists:
        faults += look_at(page, url, looks=CROSSED, walks=False)
    for host in (make_host(), make_host("gone", state="down", error_code="connect.refused", error_text="x")):
        for state in Pool.State.values:
            pool = make_pool(state, host=host, state=state, allocation=98 * GIB, available=2 * GIB)
            make_volume(pool=pool)
    jobs = [make_job(pool, "volume.delete", state) for state in Job.State.values]
    iso = make_volume("debian.iso", format="iso", label="Debian 12.8.0 amd64 n")
    for url in [*lists, iso.get_absolute_url(), *(job.get_absolute_url() for job in jobs)]:
        faults += look_at(page, url, looks=CROSSED, walks=False)
    assert not faults, "\n".join(faults)
