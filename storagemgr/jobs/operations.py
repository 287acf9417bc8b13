"""What an operation is. Each is declared once, in pools/operations.py or volumes/operations/.

From the declaration come the button or the reason why it is off, the form page, the check of the right, the job,
the audit entry and the `virsh` line.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any
from uuid import UUID

from django import forms
from django.db import models

from storagemgr.hosts.models import Host
from storagemgr.jobs import sealed
from storagemgr.jobs.models import Job, JobLock
from storagemgr.virt.connection import Connection


class Danger(Enum):
    NONE = "none"  # done at a click
    ASKS = "asks"  # says what will happen first
    DESTROYS = "destroys"  # data is lost: the name is to be typed


@dataclass(frozen=True)
class Step:
    """A named part of a job begins. `total` bytes make the bar; without it the bar only moves."""

    title: str
    total: int | None = None


@dataclass(frozen=True)
class Progress:
    done: int


class OperationFailed(Exception):
    """An expected failure of our own, not libvirt's: `code` stands in storagemgr/messages/."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail


class Interrupted(Exception):
    """How the operation ended is not known: the connection broke while libvirt worked."""


@dataclass(frozen=True)
class Finding:
    """What a look at the host said about an interrupted job: `state` is None while libvirt still works on it."""

    state: Job.State | None
    text: str
    code: str = ""


class Stopped(Exception):
    """A person asked to cancel it, and what it had begun is taken back."""


class Handed(Exception):
    """The job goes on elsewhere: the transfer process has it until all bytes came, then it runs once more."""


@dataclass(frozen=True)
class Check:
    """A line of the safety panel: something that was looked at before data is lost.

    `is_ok`: it stands in the way of nothing. `links`: (words, URL) of what stands in the way; `advice`: what to do.
    """

    text: str
    is_ok: bool = True
    links: tuple[tuple[str, str], ...] = ()
    advice: str = ""


@dataclass(frozen=True)
class Part:
    """What the page of a job shows while its operation is handed over (Handed): `template` with `part` = `context`.

    `scripts` are static files; `allow` changes the answer so that they may connect to where they have to.
    """

    template: str
    context: dict[str, Any]
    scripts: tuple[str, ...] = ()
    allow: Callable[[Any, Any], Any] = lambda request, response: response


@dataclass(frozen=True)
class Place:
    """Where a target stands, and so its jobs. `pool_uuid` is None for what is about the host alone."""

    host_id: int
    pool_uuid: UUID | None = None
    pool_name: str = ""


def place_of(target: Any) -> Place:
    """Of a host, of a volume by its pool, or of a row that has host_id, uuid and name as a pool has."""
    if isinstance(target, Host):
        return Place(target.pk)
    pool = getattr(target, "pool", target)
    return Place(pool.host_id, pool.uuid, pool.name)


@dataclass
class Run:
    """What an operation's function gets: the job, its target row, and connections of its own."""

    job: Job
    target: Any
    connect: Callable[[], Connection]
    connections: list[Connection] = field(default_factory=list)
    changed: dict[str, Any] = field(default_factory=dict)

    def change(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        """What the audit tells of it when the job went well, in JSON types."""
        self.changed = {"before": before, "after": after}

    def open(self) -> Connection:
        connection = self.connect()
        self.connections.append(connection)
        return connection

    @property
    def secrets(self) -> dict[str, str]:
        """The passwords that came with the request, by the names of their fields."""
        return sealed.unseal(self.job.sealed)

    def log(self, text: str) -> None:
        self.job.log(text)


class OperationForm(forms.Form):
    """`target` is the row the operation is about; `key` makes a double click one job. `user`: the person who asks,
    where choices depend on what they may see.

    The fields named in `secret_fields` travel to the worker encrypted and are kept nowhere else.
    """

    secret_fields: tuple[str, ...] = ()
    more: tuple[str, ...] = ()  # the fields that most people leave alone
    key = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, target: Any, user: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.target, self.user = target, user

    def common_fields(self) -> list[forms.BoundField]:
        return [field for field in self.visible_fields() if field.name not in self.more]

    def more_fields(self) -> list[forms.BoundField]:
        return [field for field in self.visible_fields() if field.name in self.more]

    def is_more_open(self) -> bool:
        return any(field.errors or field.value() for field in self.more_fields())

    def params(self) -> dict[str, Any]:
        """What the job keeps: the cleaned fields, in JSON types."""
        left_out = ("key", "typed_name", *self.secret_fields)
        return {name: value for name, value in self.cleaned_data.items() if name not in left_out}

    def secrets(self) -> dict[str, str]:
        return {name: self.cleaned_data[name] for name in self.secret_fields if self.cleaned_data.get(name)}


def _no_reason(target: Any) -> str:
    return ""


def _no_effects(target: Any) -> list[str]:
    return []


def _no_locks(target: Any, params: dict[str, Any]) -> list[JobLock]:
    return []


def _no_checks(target: Any, user: Any) -> list[Check]:
    return []


def _no_delay() -> timedelta:
    return timedelta()


@dataclass(frozen=True, kw_only=True)
class Operation:
    name: str  # "volume.clone"; also the audit's action
    title: str  # "Clone"
    sentence: str  # one line beside the button
    icon: str
    right: str
    target: type[models.Model]  # the row on whose page it stands: Pool, Volume, Host
    run: Callable[[Run], Iterator[Step | Progress]]
    find: Callable[[Job], Any]  # the target row of a job, None when it is gone
    virsh: Callable[[Any, dict[str, Any]], str]
    label: Callable[[Any, dict[str, Any]], str]  # the job's title
    button: str = ""  # where the title is too long for a button beside it
    goes: str = "in"  # or "into", between its title and the pool where it makes something
    form: type[OperationForm] = OperationForm
    template: str = "operation.html"  # of its page
    danger: Danger = Danger.NONE
    typed_word: str = ""  # what is to be typed instead of the name, for Danger.DESTROYS
    is_exclusive: bool = False  # takes the pool's lane alone
    is_quick: bool = False  # the web waits about a second for its end
    is_limited: bool = False  # given up after JOB_LIMIT: libvirt may wait for ever for a storage that is gone
    is_coalesced: bool = False  # a second one while one waits is the same one
    is_for_many: bool = False  # can be asked for many rows at once, with one form for all of them
    is_free: bool = False  # changes rows of ours alone: no connection is opened, and no lane is waited for
    is_stoppable: bool = False  # can be cancelled while it runs: its generator is closed between two events
    delay: Callable[[], timedelta] = _no_delay  # how long it can be undone before it is queued
    tests_the_way: bool = False  # opens its connections itself, step by step, and changes nothing on the host
    applies: Callable[[Any], bool] = lambda target: True  # False: this row does not even show it
    why_off: Callable[[Any], str] = _no_reason  # "" when possible now, else a sentence for people
    # Asked once more in the transaction that makes the job, so that two do not get the same room: "" when it fits.
    why_no_room: Callable[[Any, dict[str, Any]], str] = lambda target, params: ""
    effects: Callable[[Any], list[str]] = _no_effects  # what it does on the host, for the confirmation
    # What was looked at before, for the safety panel, as this person may see it (volumes/safety.py).
    checks: Callable[[Any, Any], list[Check]] = _no_checks
    locks: Callable[[Any, dict[str, Any]], list[JobLock]] = _no_locks
    volume_of: Callable[[Any, dict[str, Any]], str] = lambda target, params: ""
    check: Callable[[Run], None] | None = None  # reads the target again from the host before it starts
    settle: Callable[[Run], Finding] | None = None
    result: Callable[[Job], Any] = lambda job: None  # the row that a finished job made
    # What a job that ended badly had done before, in words: "Define", "Build".
    done: Callable[[Job], list[str]] = lambda job: []
    # (request, job), while it is active.
    part: Callable[[Any, Job], Part | None] = lambda request, job: None
    # What to do after the job ended, as (words of the link, URL): "Undo what was done".
    next_step: Callable[[Job], tuple[str, str] | None] = lambda job: None

    @property
    def slug(self) -> str:
        return self.name.partition(".")[2].replace("_", "-")


REGISTRY: dict[str, Operation] = {}


def register(operation: Operation) -> Operation:
    if operation.name in REGISTRY:
        raise ValueError(f"{operation.name} is declared twice")
    REGISTRY[operation.name] = operation
    return operation


def by_slug(noun: str, slug: str) -> Operation | None:
    """The operation behind an address: "pool", "autostart-on" -> pool.autostart_on."""
    operation = REGISTRY.get(f"{noun}.{slug.replace('-', '_')}")
    return operation if operation and operation.slug == slug else None


def operations_for_many(noun: str) -> list[Operation]:
    return [o for o in REGISTRY.values() if o.is_for_many and o.name.startswith(f"{noun}.")]


def operations_for(target: models.Model) -> list[Operation]:
    """The operations that stand on the page of this row, in the order of their declaration."""
    return [o for o in REGISTRY.values() if isinstance(target, o.target) and o.applies(target)]
