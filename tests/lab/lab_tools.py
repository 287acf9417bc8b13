"""The whole product, running, with the guests of the lab as its hosts; and a person's way through its pages."""

import re
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import Browsing
from django.contrib.auth.models import User
from django.db import connection
from lab.guests import Guest
from lab.labs import Lab
from live_tools import in_state
from playwright.sync_api import Browser, Page, expect
from stack import Stack, wait_for

from pools.models import NewPool, Pool, PoolDraft
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from volumes.models import Volume

SERVICES = ("redis", "jobs", "sync", "tick", "web")
ENDED = ("succeeded", "failed", "cancelled")


class Product:
    """One for all tests of a module; the rows of its hosts stay, what a test makes on them is the test's."""

    def __init__(self, lab: Lab, chromium: Browser, **settings: str) -> None:
        self.lab = lab
        self.stack = Stack(EMBEDDED_HOST="0", **settings)
        self.stack.collect_static()
        self.user = User.objects.create_superuser("lena")
        for guest in lab.guests:
            Host.objects.create(name=guest.name, socket=str(guest.socket))
        self.stack.start(*SERVICES)
        self.browsing = Browsing(chromium, self.stack.url)
        self.page: Page = self.browsing.as_(self.user)
        self.page.set_default_timeout(20_000)

    def close(self) -> None:
        try:
            self.browsing.close()
        finally:
            self.stack.stop()

    def wait_for(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        try:
            return wait_for(condition, seconds, what)
        except AssertionError as error:
            logs = "".join(self.stack.log(name)[-1500:] for name in ("sync", "jobs"))
            raise AssertionError(f"{error}; {self.state()}\n{logs}") from None

    def state(self) -> list[object]:
        """What the rows say, for the message of a test that failed."""
        return [
            list(rows.values()) for rows in (Host.objects.all(), Pool.objects.defer("xml", "running_xml"))
        ]

    def host(self, guest: Guest) -> Host:
        return Host.objects.get(name=guest.name)

    def guest_of(self, pool: Pool) -> Guest:
        return next(guest for guest in self.lab.guests if guest.name == pool.host.name)

    def wait_until_read(self, *guests: Guest) -> None:
        for guest in guests or self.lab.guests:
            self.wait_for(lambda guest=guest: self.host(guest).answers, 60, f"{guest.name} answers")

    def pool(self, guest: Guest, name: str, seconds: float = 20) -> Pool:
        rows = Pool.objects.select_related("host").filter(host__name=guest.name, name=name)
        return self.wait_for(rows.first, seconds, f"{name} in the list of {guest.name}")

    def volumes(self, pool: Pool) -> dict[str, Volume]:
        """Once they are as many as libvirt counts."""
        rows = Volume.objects.select_related("pool__host").filter(pool=pool)

        def is_read() -> bool:
            row = Pool.objects.get(pk=pool.pk)
            return not row.is_changed and rows.count() == row.volume_count

        self.wait_for(is_read, 30, f"the volumes of {pool}")
        return {volume.name: volume for volume in rows.order_by("name")}

    def virsh(self, guest: Guest, *words: str) -> str:
        """From outside of the product, as an administrator of the host would."""
        command = ["virsh", "-q", "-c", guest.socket_uri, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, operation: str, target: Any, **params: Any) -> Job:
        return submit(REGISTRY[operation], target, actor=self.user, params=params, key=uuid.uuid4())

    def ended(self, job: Job, seconds: float = 60) -> Job:
        return self.wait_for(in_state(job, *ENDED), seconds, f"the end of: {job.title}")

    def click(self, target: Pool | Volume, slug: str, typed: str = "", **fields: str) -> Job:
        """Asks for an operation on the page of the target: the job, when it has ended."""
        return self.ended(self.begin(target, slug, typed, **fields))

    def begin(self, target: Pool | Volume, slug: str, typed: str = "", **fields: str) -> Job:
        before = self.latest_job()
        page = self.page
        page.goto(target.get_absolute_url())
        act = page.locator(f"#act-{slug}")
        if act.locator("a").count():
            with page.expect_navigation():
                act.locator("a").click()
            for name, value in fields.items():
                fill(page, name, value)
            if typed:
                page.locator("input[name=typed_name]").fill(typed)
            page.locator("#ask").click()
        else:
            act.locator("button").click()
        return self.asked_since(before, slug)

    def latest_job(self) -> int:
        job = Job.objects.order_by("id").last()
        return job.pk if job else 0

    def latest(self, name: str) -> Job:
        return Job.objects.filter(requested_by=self.user, operation__endswith=name).latest("pk")

    def asked_since(self, before: int, slug: str) -> Job:
        """The job that the browser has just asked for."""
        mine = Job.objects.filter(requested_by=self.user, operation__endswith=slug.replace("-", "_"))
        return self.wait_for(mine.filter(pk__gt=before).first, 20, main_text(self.page))

    def create_volume(self, pool: Pool, name: str, **fields: Any) -> None:
        before = self.latest_job()
        self.page.goto(f"{pool.get_absolute_url()}volumes/new/")
        for field, value in ({"name": name, "capacity": "1 MiB"} | fields).items():
            fill(self.page, field, value)
        self.page.locator("#ask").click()
        job = self.ended(self.asked_since(before, "create"))
        assert job.state == "succeeded", (job.title, job.error_code, job.error_text)

    def do(self, target: Pool | Volume, slug: str, typed: str = "", **fields: str) -> Job:
        job = self.click(target, slug, typed, **fields)
        assert job.state == "succeeded", (job.title, job.error_code, job.error_text)
        return job

    def why_off(self, target: Pool | Volume, slug: str) -> str:
        """Why the button on its page is off."""
        self.page.goto(target.get_absolute_url())
        button = self.page.locator(f"button[aria-describedby=why-{slug}]")
        expect(button).to_have_attribute("aria-disabled", "true")
        return self.page.locator(f"#why-{slug}").inner_text()

    def says(self, job: Job) -> str:
        """What a person reads of its end, libvirt's own words too."""
        self.page.goto(job.get_absolute_url())
        own_words = self.page.locator("#host-words")
        if own_words.count():
            own_words.evaluate("element => element.open = true")
        return plain(self.page.locator("section[aria-labelledby=progress]").inner_text())

    def everything_kept(self) -> str:
        """The bytes of the database and of the logs.

        Read by another process: to close the file in this one would end the locks that SQLite has on it.
        """
        database = Path(connection.settings_dict["NAME"])
        files = [*database.parent.glob(f"{database.name}*"), *self.stack.directory.glob("*.log")]
        return subprocess.run(["cat", *files], capture_output=True, check=True).stdout.decode("latin-1")

    def new_pool(self, *guests: Guest, type: str) -> "Making":
        return Making(self, guests, type)

    def listed(self, pool: Pool) -> list[str]:
        """The names in the table of the pool's volumes, once all that libvirt counts are read."""
        self.volumes(pool)
        self.page.goto(f"{pool.get_absolute_url()}volumes/")
        return sorted(self.page.locator("table.sm-volumes tbody th a").all_inner_texts())


class Making:
    """A new pool, step by step in the browser, from the button on the first page."""

    def __init__(self, product: Product, guests: tuple[Guest, ...], type_: str) -> None:
        self.product, self.page, self.guests = product, product.page, guests
        page = self.page
        page.goto("/")
        with page.expect_navigation():
            page.get_by_role("button", name="New pool").click()
        for guest in guests:
            page.locator(f"#host-{product.host(guest).pk}").check()
        self._next()
        page.locator(f"#type-{type_}").check()
        self._next()
        self.draft = PoolDraft.objects.latest("pk")

    def find(self, **search: str) -> list[str]:
        """Asks the hosts for sources: the lines that stand for what they found."""
        for name, value in search.items():
            fill(self.page, name, value)
        self._click("button[name=find]")
        expect(self.page.locator("#found fieldset, #found .sm-note").first).to_be_visible(timeout=60_000)
        expect(self.page.locator("#found[hx-get]")).to_have_count(0, timeout=60_000)
        return [plain(text) for text in self.page.locator("#found label:not(#row-typed)").all_inner_texts()]

    def pick(self, text: str) -> "Making":
        self.page.locator("#found label").filter(has_text=text).locator("input").check()
        return self

    def source(self, **fields: Any) -> "Making":
        """Leaves the step, with what was picked and what is typed here."""
        typed = self.page.locator("#typed")
        if fields and typed.count():
            typed.evaluate("element => element.open = true")
        for name, value in fields.items():
            fill(self.page, name, value)
        self._next()
        return self

    def options(self, name: str, **fields: Any) -> "Making":
        more = self.page.locator("#more")
        if more.count():
            more.evaluate("element => element.open = true")
        for field, value in ({"name": name} | fields).items():
            fill(self.page, field, value)
        self._next()
        return self

    def test(self) -> str:
        """What the hosts said, one after the other."""
        self._click("button[name=test]")
        expect(self.page.locator("#tested[hx-get]")).to_have_count(0, timeout=90_000)
        said = plain(self.page.locator("#tested").inner_text())
        self._click("button[name=next]")
        return said

    def skip_test(self) -> None:
        self._click("button[name=next]")

    def refused_source(self, **fields: Any) -> str:
        """What the page says when the step is not left."""
        with pytest.raises(AssertionError) as refused:
            self.source(**fields)
        return str(refused.value)

    def refused_options(self, name: str, **fields: Any) -> str:
        with pytest.raises(AssertionError) as refused:
            self.options(name, **fields)
        return str(refused.value)

    def make(self, typed: str = "") -> str:
        """What the page of the result says, once it is made or not on every host."""
        if typed:
            self.page.locator("input[name=typed_name]").fill(typed)
        self._click("#make")
        outcome = self.page.locator("#outcome")
        expect(outcome).to_be_visible()
        expect(self.page.locator("#outcome[hx-get]")).to_have_count(0, timeout=120_000)
        return plain(outcome.inner_text())

    def made(self, typed: str = "") -> list[Pool]:
        """The pools, in the order of the hosts asked for; all of them made."""
        said = self.make(typed)
        rows = NewPool.objects.filter(draft=self.draft).values_list("uuid", flat=True)
        pools = {p.host.name: p for p in Pool.objects.select_related("host").filter(uuid__in=rows)}
        assert set(pools) == {guest.name for guest in self.guests}, said
        assert "failed" not in said.lower(), said
        return [pools[guest.name] for guest in self.guests]

    def _next(self) -> None:
        before = self.page.url
        self._click("main form .btn-primary")
        assert self.page.url != before, main_text(self.page)

    def _click(self, button: str) -> None:
        with self.page.expect_navigation():
            self.page.locator(button).click()


def fill(page: Page, name: str, value: Any) -> None:
    """Whatever kind of field it is: a list is its lines, a bool a tick."""
    field = page.locator(f"form [name={name}]")
    if isinstance(value, bool):
        field.set_checked(value)
    elif field.first.get_attribute("type") == "radio":
        page.locator(f"form [name={name}][value={value}]").check()
    elif field.evaluate("element => element.tagName") == "SELECT":
        field.select_option(value)
    else:
        field.fill("\n".join(value) if isinstance(value, list) else value)


def main_text(page: Page) -> str:
    return plain(page.locator("main").inner_text())


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\N{NO-BREAK SPACE}", " ")).strip()
