"""Reading a host: whose turn it is, whether it answers, and what it is."""

import os
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from storagemgr.hosts import calls, changes, reaching
from storagemgr.hosts.models import Host, HostQuerySet
from storagemgr.messages import message
from storagemgr.virt.connection import Connection, HostFacts
from storagemgr.virt.errors import VirtError

T = TypeVar("T")
State = Host.State

ANSWER_S = 5.0
# A login over ssh may wait for a resolver on the host; what is only silent ends earlier, by ssh's own limit.
LOGIN_S = 12.0
LONGEST_PAUSE_S = 10
# Waiting for nobody's answer holds a worker each time; and a login that is refused too often gets us banned.
PAUSE_OF_SILENCE_S, PAUSE_FOR_PEOPLE_S = 30, 60
SILENCE = ("connect_timeout", "no_route", "not_answering")
FOR_PEOPLE = (
    *("auth_failed", "denied", "key_refused", "host_key_changed", "host_key_unknown", "cert_refused"),
    *("cert_missing", "own_cert_invalid", "cert_untrusted", "cert_expired", "cert_name"),
    *("tcp_not_allowed", "address_not_allowed", "helper_missing", "helper_failed", "wrong_mode"),
)
READER_GONE = timedelta(seconds=60)
FACTS_PERIOD = timedelta(minutes=10)
# The tick comes about when a host is due; without this every second one would be a moment early.
EARLY = timedelta(seconds=0.5)

# One connection per process and host. Never across a fork, hence the process id.
_connections: dict[tuple[int, str], Connection] = {}


def due(now: datetime) -> HostQuerySet:
    """The hosts to read now. A reader that is silent for a minute is gone."""
    nobody_reads = Q(reading_since=None) | Q(reading_since__lt=now - READER_GONE)
    return Host.objects.filter(nobody_reads, Q(next_read_at=None) | Q(next_read_at__lte=now + EARLY))


def claim(host_id: int) -> Host | None:
    """The host for this reader alone, or None: it is not due, or somebody reads it."""
    now = timezone.now()
    if not due(now).filter(pk=host_id).update(reading_since=now):
        return None
    return Host.objects.get(pk=host_id)


def release(host: Host, pause_s: float) -> None:
    """Lets the next reader come `pause_s` after this reading began, or now if that is over."""
    next_read_at = max(timezone.now(), host.reading_since + timedelta(seconds=pause_s))
    rows = Host.objects.filter(pk=host.pk, reading_since=host.reading_since)
    rows.update(reading_since=None, next_read_at=next_read_at)


def pause_s(host: Host) -> float:
    if host.needs_key and host.shown_key or host.error_code in FOR_PEOPLE:
        return PAUSE_FOR_PEOPLE_S
    if not host.failures:
        return settings.READ_PERIOD
    is_remote = host.transport != Host.Transport.LOCAL
    longest = PAUSE_OF_SILENCE_S if is_remote and host.error_code in SILENCE else LONGEST_PAUSE_S
    return min(2 * 2**host.failures, longest)


@dataclass
class Reading:
    """One reading of a host that answered. What libvirt is asked goes through ask()."""

    host: Host
    connection: Connection
    started: datetime = field(default_factory=timezone.now)

    def ask(
        self,
        key: Hashable,
        seconds: float,
        function: Callable[[Connection], T],
        when_back: Callable[[T | None], None],
    ) -> T:
        """As calls.within. The connection of an overdue call is left to it, and the next ask opens another."""
        connection = self._connection()

        def back(result: T | None) -> None:
            connection.close()
            when_back(result)

        try:
            return calls.within(seconds, key, lambda: function(connection), back)
        except calls.Overdue:
            _connections.pop((os.getpid(), self.host.uri), None)
            raise

    def _connection(self) -> Connection:
        if _connections.get((os.getpid(), self.host.uri)) is not self.connection:
            renewed = reach(self.host)
            if renewed is None:
                raise VirtError("connection_lost", "The host stopped answering.")
            self.connection = renewed
        return self.connection


def reach(host: Host) -> Connection | None:
    """A connection whose daemon answered just now; None after writing to the row how it did not."""
    key, place = ("host", host.pk), (os.getpid(), host.uri)
    silent_since = calls.overdue_since(key)
    # Seen since: another process reached it, and our old call hangs for a reason of its own.
    if silent_since and (host.seen_at is None or host.seen_at < silent_since):
        return None
    if host.needs_key:
        _learn_key(host)
        return None
    cached = _connections.pop(place, None)
    if cached is None:
        _close_strangers()
    is_login = cached is None and host.transport != Host.Transport.LOCAL
    try:
        connection = calls.within(
            LOGIN_S if is_login else ANSWER_S,
            key,
            lambda: _knock(cached, host),
            lambda late: _late(host, late),
        )
    except calls.Overdue:
        _write_failure(host, State.SILENT, "not_answering", "")
        return None
    except VirtError as error:
        _write_failure(host, State.DOWN, error.code, error.detail)
        if error.code == "host_key_changed":
            _learn_key(host)
        return None
    _connections[place] = connection
    _write_answer(host)
    return connection


def _knock(cached: Connection | None, host: Host) -> Connection:
    if cached is not None and cached.alive:
        try:
            cached.ping()
            return cached
        except VirtError:
            cached.close()
    connection = reaching.open_host(host)
    connection.ping()
    return connection


def _learn_key(host: Host) -> None:
    """Write down which key an SSH host shows, for a person to confirm."""
    try:
        shown = calls.within(
            LOGIN_S, ("host", host.pk), lambda: reaching.look_at_key(host), lambda late: _late(host, None)
        )
    except (calls.Overdue, VirtError) as error:
        # Of a host with another key it is known already what is wrong.
        if host.needs_key and isinstance(error, VirtError):
            _write_failure(host, State.DOWN, error.code, error.detail)
        elif host.needs_key:
            _write_failure(host, State.SILENT, "not_answering", "")
        return
    reaching.remember_key(host, shown)
    if host.needs_key:
        host.failures = 0
        _write_state(host, State.UNKNOWN, "", "")


def _close_strangers() -> None:
    """Connections to where no host is any more: it was removed, or has another address."""
    known = {(os.getpid(), host.uri) for host in Host.objects.all()}
    for place in _connections.keys() - known:
        # The goodbye waits for the daemon's.
        threading.Thread(target=_connections.pop(place).close, daemon=True).start()


def _late(host: Host, connection: Connection | None) -> None:
    if connection is not None:
        connection.close()
    Host.objects.filter(pk=host.pk).update(next_read_at=None)


def fail(host: Host, error: VirtError) -> None:
    """It refused or broke off in the middle of a reading."""
    if connection := _connections.pop((os.getpid(), host.uri), None):
        connection.close()
    _write_failure(host, State.DOWN, error.code, error.detail)


def _write_failure(host: Host, state: State, code: str, text: str) -> None:
    host.failures += 1
    _write_state(host, state, code, text)


def _write_answer(host: Host) -> None:
    host.failures = 0
    host.seen_at = timezone.now()
    if host.state == State.UP:
        Host.objects.filter(pk=host.pk).update(failures=0, seen_at=host.seen_at)
        return
    # It may have been upgraded meanwhile.
    host.facts_read_at = None
    _write_state(host, State.UP, "", "")


def _write_state(host: Host, state: State, code: str, text: str) -> None:
    if host.state != state:
        host.state_since = timezone.now()
        _write_change(host, state, code)
    host.state, host.error_code, host.error_text = state, code, text
    fields = ["state", "state_since", "error_code", "error_text", "failures", "seen_at", "facts_read_at"]
    Host.objects.filter(pk=host.pk).update(**{name: getattr(host, name) for name in fields})


def _write_change(host: Host, state: State, code: str) -> None:
    """That it stopped answering, or answers again. One that was never read, or is looked for elsewhere, is no news."""
    if State.UNKNOWN in (host.state, state) or State.UP not in (host.state, state):
        return
    if state == State.UP:
        text = f"Host {host} answers again."
    else:
        text = f"Host {host} stopped answering. {message(code).title if code else ''}".rstrip()
    changes.record([changes.change(host.pk, "answers" if state == State.UP else "silent", text)])


def read_facts(reading: Reading) -> None:
    """Name, versions and pool types, when the host is new or came back, and now and then.

    Slow facts are no silence: asking the hypervisor's version can make libvirt probe its programs for seconds.
    """
    host = reading.host
    recent = host.facts_read_at and host.facts_read_at > reading.started - FACTS_PERIOD
    if recent or calls.overdue_since(("facts", host.pk)):
        return
    try:
        facts = reading.ask(
            ("facts", host.pk), ANSWER_S, lambda c: c.facts(), lambda late: _write_facts(host, late)
        )
    except calls.Overdue:
        return
    _write_facts(host, facts)


def _write_facts(host: Host, facts: HostFacts | None) -> None:
    if facts is None:
        return
    host.facts_read_at = timezone.now()
    Host.objects.filter(pk=host.pk).update(
        hostname=facts.hostname,
        libvirt_version=facts.libvirt_version,
        hypervisor=facts.driver,
        hypervisor_version=facts.hypervisor_version,
        pool_types=facts.pool_types,
        facts_read_at=host.facts_read_at,
    )
