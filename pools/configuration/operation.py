"""The operation that gives a pool another configuration."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils.timezone import localtime

from pools import sync
from pools.configuration import draft as config_draft
from pools.configuration import history
from pools.models import Pool, PoolConfiguration
from pools.operations import STOP, check, find, once_it_answers, read_again, running_vms, unreachable
from storagemgr.access.objects import may
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import (
    Finding,
    Operation,
    OperationFailed,
    OperationForm,
    Progress,
    Run,
    Step,
    register,
)
from storagemgr.virt import pool_xml, secrets
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_guard import schema_is_wrong

Events = Iterator[Step | Progress]

TRANSIENT = (
    "The pool is transient: libvirt keeps no definition of it that could be changed. "
    "Stopping it forgets it; a pool that is to stay is made as a defined one."
)
RIGHTS = ("mode", "owner", "group")


def why_no_change(pool: Pool) -> str:
    return unreachable(pool) or ("" if pool.persistent else TRANSIENT)


def why_no_restart(pool: Pool) -> str:
    if vms := running_vms(pool):
        more = " and others" if len(vms) > 3 else ""
        return f"Running VMs have disks here: {', '.join(vms[:3])}{more}. Shut them down or move their disks first."
    return STOP.why_off(pool)


class ConfigureForm(OperationForm):
    """The XML comes from the page of the configuration or from its history. `refusal`: why this person may not."""

    refusal = ""
    version = forms.IntegerField(widget=forms.HiddenInput)
    restores = forms.IntegerField(widget=forms.HiddenInput, required=False)
    xml = forms.CharField(widget=forms.HiddenInput, strip=False)
    sealed = forms.CharField(widget=forms.HiddenInput, required=False)
    restart = forms.BooleanField(required=False, label="Stop and start the pool now, so that it takes effect")

    def __init__(self, *args: Any, target: Pool, **kwargs: Any) -> None:
        now, asked = history.latest(target), kwargs.get("initial") or {}
        if "definition" in asked and now:
            asked = asked | {"xml": asked["definition"], "version": now.pk}
        super().__init__(*args, target=target, **kwargs | {"initial": asked})
        self.why_no_restart = why_no_restart(target) if target.is_active else ""
        if not target.is_active or self.why_no_restart:
            del self.fields["restart"]

    @property
    def base(self) -> PoolConfiguration | None:
        try:
            return history.of(self.target).filter(pk=int(self["version"].value() or 0)).first()
        except (TypeError, ValueError, OverflowError):
            return None

    @property
    def change(self) -> "Change | None":
        """What the page shows; None while there is nothing to show."""
        xml = config_draft.lines_of(self["xml"].value() or "")
        if self.base is None or not xml or (self.is_bound and "xml" not in self.cleaned_data):
            return None
        password = config_draft.password_of(self.target, self["sealed"].value() or "")
        return Change(self.target, self.base, xml, bool(password))

    def clean_xml(self) -> str:
        return config_draft.lines_of(self.cleaned_data["xml"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "xml" not in cleaned or self.base is None:
            self.add_error(
                None, "There is nothing to apply. Open the configuration, change it and review it."
            )
            return cleaned
        password = config_draft.password_of(self.target, cleaned.get("sealed", ""))
        for said in config_draft.all_problems(self.target, self.base.xml, cleaned["xml"], password):
            self.add_error(None, said)
        if self.refusal:
            self.add_error(None, self.refusal)
        if not config_draft.is_xml(cleaned["xml"]):
            del cleaned["xml"]
        return cleaned

    def params(self) -> dict[str, Any]:
        """The XML under a name of its own: the page of a job shows the fields of the form in one line each."""
        found = {"version": self.cleaned_data.get("version"), "definition": self.cleaned_data.get("xml", "")}
        if found["definition"] and self.secrets():
            found["password"] = True
        if self.cleaned_data.get("restores"):
            found["restores"] = self.cleaned_data["restores"]
        if "restart" in self.fields:
            found["restart"] = bool(self.cleaned_data.get("restart"))
        return found

    def secrets(self) -> dict[str, str]:
        password = config_draft.password_of(self.target, self.cleaned_data.get("sealed", ""))
        has_user = pool_xml.values_of(self.cleaned_data["xml"]).get("auth_user") if password else ""
        return {"auth_password": password} if has_user else {}


class Change:
    """From one configuration to another, as pages show it."""

    def __init__(self, pool: Pool, base: PoolConfiguration, xml: str, has_password: bool = False) -> None:
        self.pool, self.xml = pool, xml
        self.words = pool_xml.differences(base.xml, xml)
        if has_password:
            self.words.append("Password: a new one. It becomes a private secret of libvirt on the host.")
        self.lines = pool_xml.diff(history.plain(base.xml), history.plain(xml))
        self._touches_rights = any(
            pool_xml.values_of(base.xml).get(name) != pool_xml.values_of(xml).get(name) for name in RIGHTS
        )

    @property
    def when(self) -> list[str]:
        if self.pool.is_active:
            found = [
                "libvirt keeps it beside the one in use: the pool goes on as it is. "
                "What you change takes effect once the pool is stopped and started."
            ]
        else:
            found = ["The pool is stopped: it takes effect when it is started next."]
        if self._touches_rights:
            found.append(
                "Mode, owner and group are given to the directory when the pool is built, not by a start."
            )
        return [*found, "When libvirt refuses it, the configuration stays as it is now."]

    @property
    def virsh(self) -> list[str]:
        virsh, name = f"virsh -c {self.pool.host.uri}", f"{self.pool.uuid}.xml"
        return [f"{virsh} pool-dumpxml --inactive {self.pool.uuid} > {name}", f"{virsh} pool-define {name}"]


def _label(pool: Pool, params: dict[str, Any]) -> str:
    if params.get("restores"):
        return f"Bring back an earlier configuration of {pool.name}"
    return f"Configure {pool.name}"


def _run(run: Run) -> Events:
    pool, params = run.target, run.job.params
    base = _base(pool, params)
    # Somebody may have stopped the pool meanwhile; it is not started again then.
    restarts = bool(params.get("restart")) and pool.is_active
    if restarts and (reason := why_no_restart(pool)):
        raise OperationFailed("changed_since", reason)
    if not may_make_it_so(run.job.requested_by, pool, base.xml, params["definition"]):
        raise OperationFailed("other_storage")
    connection = run.open()
    xml, password = params["definition"], run.secrets.get("auth_password", "")
    if password:
        xml = _naming_its_secret(connection, pool, xml)
    yield Step("Define")
    _define(connection, xml)
    if password:
        yield Step("Store the password")
        try:
            _put_secret(connection, pool, xml, password)
        except VirtError:
            _define(connection, base.xml)
            raise
    run.change({"xml": base.xml}, {"xml": history.plain(xml)})
    sync.read_one(connection, pool, _maker(run.job))
    if restarts:
        yield from _restart(connection, pool)


def may_make_it_so(user: User | None, pool: Pool, was: str, xml: str) -> bool:
    """Who has the right on this pool alone may not make it one of what else the host has."""
    if not history.is_elsewhere(was, xml):
        return True
    return user is not None and may(user, CONFIGURE.right, pool.host_id, None)


def _base(pool: Pool, params: dict[str, Any]) -> PoolConfiguration:
    """The configuration that the change was made from, which has to be the one in use still."""
    base = history.of(pool).filter(pk=params["version"]).first()
    if base is None:
        raise OperationFailed("changed_since", "What it was made from is not in the history any more.")
    if history.is_change(base.xml, pool.xml, is_active=pool.is_active):
        raise OperationFailed("changed_since", changed_since(pool, base))
    return base


def changed_since(pool: Pool, base: PoolConfiguration) -> str:
    """Who changed what since `base`, in words."""
    last = history.of(pool).filter(pk__gt=base.pk).last()
    who = f"by {last.made_by}" if last and last.made_by else "outside this program"
    at = f" at {localtime(last.at):%H:%M}" if last else ""
    return f"It was changed {who}{at}. {' '.join(pool_xml.differences(base.xml, pool.xml))}".strip()


def _define(connection: Connection, xml: str) -> None:
    virt_pools.define(connection, xml, validate=not schema_is_wrong(xml))


def _usage(pool: Pool) -> tuple[str, str]:
    return "ceph" if pool.type == "rbd" else "iscsi", secrets.usage_id(str(pool.uuid))


def _naming_its_secret(connection: Connection, pool: Pool, xml: str) -> str:
    own = secrets.find_secret(connection, *_usage(pool)) or pool_xml.own_secret(str(pool.uuid))
    return pool_xml.edited(xml, {"auth_secret": own})


def _put_secret(connection: Connection, pool: Pool, xml: str, password: str) -> None:
    usage_type, usage_id = _usage(pool)
    named = pool_xml.values_of(xml)["auth_secret"]
    secrets.put_secret(
        connection,
        usage_type=usage_type,
        usage_id=usage_id,
        value=password,
        uuid=named,
        pool_name=pool.name,
    )


def _maker(job: Job) -> history.Maker:
    return history.Maker(job.requester_name, job.pk, job.started_at or job.created_at)


def _restart(connection: Connection, pool: Pool) -> Events:
    try:
        for title, act, code in (
            ("Stop the pool", virt_pools.stop, "not_stopped_for_change"),
            ("Start the pool", virt_pools.start, "not_started_with_change"),
        ):
            yield Step(title)
            try:
                act(connection, str(pool.uuid))
            except VirtError as error:
                if error.code == "connection_lost":
                    raise
                raise OperationFailed(code, error.detail) from error
    finally:
        read_again(connection, pool)


def _settle(run: Run) -> Finding:
    job = run.job
    if run.target is not None:
        read_again(run.open(), run.target)
    pool = find(job)
    base = history.of(pool).filter(pk=job.params["version"]).first() if pool else None
    if pool is None or base is None:
        return Finding(Job.State.FAILED, "The pool is not there any more.", "target_gone")
    if _is_done(base.xml, job.params["definition"], pool.xml):
        seen = history.Seen(pool.uuid, pool.xml, pool.is_active)
        history.record(pool.host_id, [seen], _maker(job))
        if job.params.get("password"):
            text = "The pool has the new configuration. Whether the password was stored cannot be known."
            return Finding(Job.State.FAILED, f"{text} Type it once more.", "end_unknown")
        waits = " It was not started anew." if job.params.get("restart") and pool.running_xml else ""
        return Finding(Job.State.SUCCEEDED, f"The pool has the new configuration.{waits}")
    if not history.is_change(base.xml, pool.xml, is_active=pool.is_active):
        return Finding(Job.State.FAILED, "The configuration is what it was before.", "nothing_done")
    return Finding(Job.State.FAILED, changed_since(pool, base), "changed_since")


def _is_done(was: str, wanted: str, now: str) -> bool:
    if pool_xml.same(wanted, history.plain(now)):
        return True
    return history.is_pending(was, wanted) and not history.is_pending(wanted, now)


def _next_step(job: Job) -> tuple[str, str] | None:
    pool = find(job)
    return ("Open the configuration", reverse("pools:configuration", args=[pool.pk])) if pool else None


CONFIGURE = register(
    Operation(
        name="pool.configure",
        title="Configure",
        sentence="Gives the pool another configuration; the data stays where it is.",
        icon="pencil",
        right="pool.define",
        target=Pool,
        find=find,
        check=check,
        form=ConfigureForm,
        template="pools/configuration/review.html",
        is_exclusive=True,
        is_quick=True,
        is_limited=True,
        run=_run,
        settle=once_it_answers(_settle),
        why_off=why_no_change,
        virsh=lambda pool, params: f"virsh -c {pool.host.uri} pool-define {pool.uuid}.xml",
        label=_label,
        button="Apply",
        next_step=_next_step,
    )
)
