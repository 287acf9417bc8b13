"""The steps of a new pool, and how far a draft has come."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils import timezone

from pools.making.plans import MADE, is_tested, problems_of
from pools.models import NewPool, PoolDraft
from storagemgr.access.objects import may
from storagemgr.access.scopes import scope
from storagemgr.hosts.models import Host
from storagemgr.jobs import sealed
from storagemgr.jobs.models import Job
from storagemgr.templatetags.storage import count
from storagemgr.virt.pool_fields import FIELDS, fields_of
from storagemgr.virt.pool_types import PoolType, pool_type

TITLES = {
    "hosts": "Hosts",
    "type": "Type",
    "source": "Source",
    "options": "Options",
    "test": "Test",
    "review": "Review",
    "result": "Result",
}


@dataclass(frozen=True)
class ShownStep:
    """`look`: done, now or "" for what is to come. `url` is "" where the way is not open yet."""

    name: str
    title: str
    number: int
    look: str
    small: str
    url: str


@dataclass
class Wizard:
    """A draft of this person, and what is known about it."""

    draft: PoolDraft
    pools: list[NewPool] = field(default_factory=list)

    @property
    def kind(self) -> PoolType:
        return pool_type(self.draft.type)

    @property
    def values(self) -> dict[str, Any]:
        return dict(self.draft.values)

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.draft.options)

    @property
    def kept(self) -> set[str]:
        return set(sealed.unseal(self.draft.sealed))

    @property
    def hosts(self) -> list[Host]:
        return [new.host for new in self.pools]

    @cached_property
    def jobs(self) -> dict[tuple[UUID | None, str], Job]:
        """The latest job of each operation on each of the pools."""
        return jobs_of(self.draft)

    def job(self, new: NewPool, operation: str) -> Job | None:
        return self.jobs.get((new.uuid, operation))

    def is_working(self, operation: str) -> bool:
        return any(job.is_active for (_, name), job in self.jobs.items() if name == operation)

    @property
    def chosen(self) -> list[NewPool]:
        """Those not left out at the review."""
        left_out = set(self.options.get("left_out", []))
        return [new for new in self.pools if new.host_id not in left_out]

    @property
    def is_finished(self) -> bool:
        """Made on all hosts that were not left out."""
        return bool(self.chosen) and all(MADE in new.done for new in self.chosen)

    @property
    def step_names(self) -> list[str]:
        has_source = not self.draft.type or any(f.group == "source" for f in self.kind.fields)
        return [name for name in TITLES if name != "source" or has_source]

    def is_done(self, name: str) -> bool:
        match name:
            case "hosts":
                return bool(self.pools)
            case "type":
                return self.draft.type in FIELDS
            case "source":
                return not self.problems_of("source")
            case "options":
                return bool(self.draft.name) and not self.problems_of("place", "options")
            case "test":
                return "test" in self.options.get("passed", [])
            case "review":
                return any(name == "pool.create" for _, name in self.jobs)
        return False

    def problems_of(self, *groups: str) -> dict[str, str]:
        mine = {f.name for f in fields_of(self.draft.type) if f.group in groups}
        return {name: wrong for name, wrong in problems_of(self.draft).items() if name in mine}

    @property
    def open_step(self) -> str:
        """The first that is not done."""
        return next((name for name in self.step_names if not self.is_done(name)), "result")

    def is_open(self, name: str) -> bool:
        """Whether all that it needs is there; the test may be skipped, the result needs a review."""
        if name not in self.step_names:
            return False
        if name == "result" and self.is_done("review"):
            # The password is forgotten once the pool is made, and so the step Source is not done any more.
            return True
        before = self.step_names[: self.step_names.index(name)]
        return all(self.is_done(step) for step in before if step != "test")

    def url(self, step: str) -> str:
        return reverse("pools:draft_step", args=[self.draft.pk, step])

    def after(self, name: str) -> str:
        names = self.step_names
        following = names[names.index(name) + 1] if name in names else self.open_step
        return self.url("review" if following == "test" and not self.kind.test else following)

    def before(self, name: str) -> str:
        names = self.step_names
        place = names.index(name)
        if place and names[place - 1] == "test" and not self.kind.test:
            place -= 1
        return self.url(names[place - 1]) if place else ""

    def shown_steps(self, now: str) -> Iterator[ShownStep]:
        for number, name in enumerate(self.step_names, 1):
            done = self.is_done(name) and self.is_open(name)
            look = "now" if name == now else "done" if done else ""
            url = self.url(name) if self.is_open(name) and name != now else ""
            yield ShownStep(name, TITLES[name], number, look, self._small(name), url)

    def _small(self, name: str) -> str:
        values = self.values
        match name:
            case "hosts" if self.pools:
                names = [host.name for host in self.hosts]
                return ", ".join(names) if len(names) < 4 else count(len(names), "host")
            case "type" if self.draft.type:
                return self.kind.title
            case "source" if not self.problems_of("source"):
                return source_words(self.draft.type, values)
            case "options" if self.draft.name:
                return f"{self.draft.name}{', ' if values.get('target_path') else ''}{values.get('target_path', '')}"
            case "test" if self.draft.type and not self.kind.test:
                return "Nothing to test"
            case "test":
                return self._test_words()
        return {"source": "What it is made of", "review": "XML and what will happen"}.get(name, "")

    def _test_words(self) -> str:
        works = [new for new in self.pools if is_tested(new, self.draft)]
        if not works:
            return "Skipped" if self.is_done("test") else "Can each host use it?"
        what = "Looked at" if self.kind.test == "look" else "Works"
        return f"{what} on {len(works)} of {count(len(self.pools), 'host')}"


def source_words(type_: str, values: dict[str, Any]) -> str:
    """The source in one line, as a person would say it."""
    said = [values.get(name) for name in ("source_host", "source_dir", "source_name", "target_iqn", "device")]
    if type_ == "netfs":
        return f"{values.get('source_host')}:{values.get('source_dir')}"
    if type_ == "scsi":
        names = ("adapter_name", "parent_address", "wwpn")
        return next((str(values[name]) for name in names if values.get(name)), "")
    lines = [", ".join(values.get(name) or []) for name in ("monitors", "devices")]
    return " ".join(str(word) for word in [*said, *lines] if word and word != "/")


def wizard_of(request: HttpRequest, pk: int) -> Wizard:
    """The draft of this person, or 404. Hosts on which they may not define pools any more fall out of it."""
    draft = PoolDraft.objects.filter(pk=pk, owner_id=request.user.pk).first()
    if draft is None:
        raise Http404
    # Before the rows: a job that has ended by now has written what it found.
    jobs = jobs_of(draft)
    wizard = Wizard(draft, rows_for(request.user, draft))
    wizard.jobs = jobs
    return wizard


def rows_for(user: Any, draft: PoolDraft) -> list[NewPool]:
    """Where something was made it stays, for who still sees it."""
    return [
        new
        for new in draft.pools.select_related("host")
        if may(user, "pool.define", new.host_id, None)
        or (new.done and may(user, "pool.view", new.host_id, new.uuid))
    ]


def jobs_of(draft: PoolDraft) -> dict[tuple[UUID | None, str], Job]:
    rows = Job.objects.filter(pool_uuid__in=list(draft.pools.values_list("uuid", flat=True)))
    return {(job.pool_uuid, job.operation): job for job in rows.order_by("id")}


def kept_until(draft: PoolDraft) -> Any:
    return timezone.localtime(draft.updated_at + PoolDraft.KEPT)


def definable_hosts(user: Any) -> list[Host]:
    return [host for host in Host.objects.visible_to(user) if may(user, "pool.define", host.pk, None)]


def may_define_somewhere(user: Any) -> bool:
    where = scope(user, "pool.define")
    return where.everything or bool(where.hosts)


def not_begun(pools: Any) -> Any:
    """Those of the queryset of which nothing is on the host: what is being made there may have to be undone."""
    at_work = Job.objects.filter(
        operation="pool.create", state__in=(Job.State.RUNNING, Job.State.INTERRUPTED)
    )
    return pools.filter(done=[]).exclude(uuid__in=at_work.values("pool_uuid"))


def remove_old_drafts() -> None:
    """What was not touched for PoolDraft.KEPT goes, with its passwords."""
    old = PoolDraft.objects.filter(updated_at__lt=timezone.now() - PoolDraft.KEPT)
    not_begun(NewPool.objects.filter(draft__in=old)).delete()
    old.delete()
