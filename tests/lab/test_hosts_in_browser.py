"""From "Add a host" to its pools, as a person does it, against a host that is reached over ssh."""

from collections.abc import Iterator

import pytest
from browsing import Browsing, breaches
from django.contrib.auth.models import User
from lab.guests import Guest
from lab.labs import Lab
from playwright.sync_api import Browser, Page, expect
from stack import Stack

from storagemgr.access.models import AuditEvent
from storagemgr.hosts.identity import ssh_identity
from storagemgr.hosts.models import Host
from storagemgr.virt.ssh import host_key

pytestmark = pytest.mark.browser

KEYS = "/etc/ssh/authorized_keys/storage"
POOL = "virsh pool-define-as web dir --target /vm_data; virsh pool-start web"


@pytest.fixture
def guest(lab2: Guest) -> Iterator[Guest]:
    keys = lab2.run(f"cat {KEYS}")
    lab2.run(POOL)
    yield lab2
    lab2.put(KEYS, keys.encode())


@pytest.fixture
def page(transactional_db: None, chromium: Browser, lab: Lab) -> Iterator[Page]:
    ssh_identity().make_key()
    stack = Stack(EMBEDDED_HOST="0", ALLOW_NEAR_ADDRESSES="1")
    try:
        stack.collect_static()
        stack.start("redis", "jobs", "sync", "tick", "web")
        browsing = Browsing(chromium, stack.url)
        yield browsing.as_(User.objects.create_superuser("ada"))
        browsing.close()
    finally:
        stack.stop()


def test_a_host_is_added_confirmed_tested_read_and_removed(page: Page, guest: Guest) -> None:
    page.goto("/hosts/")
    page.get_by_role("link", name="Add a host").click()
    for transport, label in (("TLS", "Account"), ("This machine", "Address")):
        page.get_by_role("radio", name=transport).check()
        expect(page.get_by_label(label, exact=True)).to_be_hidden()
    page.get_by_role("radio", name="SSH").check()
    page.get_by_label("Name", exact=True).fill("lab2")
    page.get_by_label("Address", exact=True).fill("127.0.0.1")
    page.get_by_label("Port", exact=True).fill(str(guest.ssh_port))
    page.get_by_label("Account", exact=True).fill("storage")
    line = page.locator("#authorized-key").inner_text()
    guest.put(KEYS, f"{line}\n".encode())
    page.get_by_role("button", name="Add the host").click()

    page.get_by_role("link", name="Compare and confirm").click(timeout=30_000)
    expect(page.locator("#fingerprint")).to_have_text(host_key(guest.host_key).fingerprint)
    page.get_by_role("button", name="It is the same: confirm").click()
    expect(page.locator("h1")).to_have_text("lab2")
    expect(page.get_by_role("link", name="web", exact=True)).to_be_visible(timeout=30_000)

    page.get_by_role("button", name="Test").click()
    history = page.get_by_role("link", name="Test the connection to lab2")
    expect(page.locator("#hist + *, [aria-labelledby=hist]").get_by_text("done")).to_be_visible(
        timeout=60_000
    )
    history.first.click()
    expect(page.locator("#log-lines")).to_contain_text("storage can be changed")
    assert breaches(page) == []

    page.goto(f"/hosts/{Host.objects.get().pk}/remove/")
    page.get_by_label("Type the name of the host").fill("lab2")
    page.get_by_role("button", name="Remove the host").click()
    expect(page.get_by_text("No host yet")).to_be_visible()
    assert "web" in guest.run("virsh pool-list --name")
    done = (
        AuditEvent.objects.filter(outcome="done", action__startswith="host.")
        .order_by("id")
        .values_list("action", flat=True)
    )
    assert list(done) == ["host.add", "host.confirm_key", "host.test", "host.remove"]
