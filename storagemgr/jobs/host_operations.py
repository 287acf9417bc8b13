"""What can be done with a host itself."""

from collections.abc import Iterator

from django.conf import settings
from django.urls import reverse
from django.utils.timezone import localtime

from storagemgr.hosts import reaching
from storagemgr.hosts.identity import pki_directory, ssh_identity
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Operation, OperationFailed, Run, Step, register
from storagemgr.virt import network, tls
from storagemgr.virt.addresses import ip_literal
from storagemgr.virt.connection import Connection, HostFacts
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_types import pool_type
from storagemgr.virt.ssh import HostKey

Steps = Iterator[Step]
Transport = Host.Transport
RESOLVE_S, LOGIN_S, FACTS_S = 10, 20, 30


def find(job: Job) -> Host | None:
    return Host.objects.filter(pk=job.host_id).first()


def _test(run: Run) -> Steps:
    host: Host = run.target
    try:
        if host.transport != Transport.LOCAL:
            yield from _way(run, host)
        yield from _libvirt(run, host)
    finally:
        # Whatever was put right meanwhile shows at once.
        Host.objects.filter(pk=host.pk).update(next_read_at=None)


def _way(run: Run, host: Host) -> Steps:
    is_name = ip_literal(host.address) is None
    yield Step(f"Find the address of {host.address}" if is_name else f"Check the address {host.address}")
    if host.transport == Transport.TCP and not settings.ALLOW_TCP:
        raise OperationFailed("tcp_not_allowed")
    found = reaching.in_time(
        host,
        "resolve",
        RESOLVE_S,
        lambda: network.resolve(host.address, may_be_near=settings.ALLOW_NEAR_ADDRESSES),
    )
    if is_name:
        run.log(f"{host.address} is {', '.join(map(str, found))}")
    yield Step(f"Reach port {host.port_number}")
    network.knock(host.address, host.port_number, reaching.KNOCK_S)
    if host.transport == Transport.SSH:
        yield from _ssh(run, host)
    elif host.transport == Transport.TLS:
        yield from _tls(run, host)


def _ssh(run: Run, host: Host) -> Steps:
    yield Step("Compare the host's key")
    shown = reaching.look_at_key(host)
    reaching.remember_key(host, shown)
    run.log(f"it shows {shown.type} {shown.fingerprint}")
    if host.key is None:
        raise OperationFailed("host_key_unknown", f"It shows {shown.type} {shown.fingerprint}.")
    if shown != host.key:
        raise OperationFailed("host_key_changed", other_key(host, host.key, shown))
    yield Step(f"Log in as {host.username}")
    reaching.prepare(host)
    try:
        said = ssh_identity().log_in(host.address, host.port_number, host.username, host.mode, LOGIN_S)
    except VirtError as error:
        raise reaching.told(host, error) from error
    run.log(f"logged in; the helper said: {said}" if said else "logged in")


def other_key(host: Host, confirmed: HostKey, shown: HostKey) -> str:
    when = f"{localtime(host.confirmed_at):%Y-%m-%d %H:%M}" if host.confirmed_at else "some day"
    return (
        f"It shows {shown.type} {shown.fingerprint}. {host.confirmed_by or 'Somebody'} confirmed"
        f" {confirmed.type} {confirmed.fingerprint} on {when}."
    )


def _tls(run: Run, host: Host) -> Steps:
    yield Step("Check the certificates")
    reaching.prepare(host)
    own = tls.read(pki_directory() / "clientcert.pem")
    if own is None or not own.is_valid_now:
        raise OperationFailed(
            "own_cert_invalid", f"Its time is over: {own.not_after:%Y-%m-%d}." if own else ""
        )
    run.log(f"our certificate is {own.subject}, valid until {own.not_after:%Y-%m-%d}")
    shown = tls.shown_by(host.address, host.port_number, str(pki_directory()), reaching.KNOCK_S)
    run.log(f"the host's certificate is for {shown.subject}, valid until {shown.not_after:%Y-%m-%d}")


def _libvirt(run: Run, host: Host) -> Steps:
    yield Step("Open libvirt")
    connection = run.open()
    yield Step("Ask for its version")
    facts = reaching.in_time(host, "test", FACTS_S, connection.facts)
    run.log(f"{facts.hostname} runs libvirt {facts.libvirt_version}")
    if Host(libvirt_version=facts.libvirt_version).is_too_old:
        raise OperationFailed("libvirt_too_old", f"It is {facts.libvirt_version}.")
    _compare_names(run, host, facts)
    yield Step("Check what we may do")
    reaching.in_time(host, "rights", FACTS_S, connection.check_rights)
    run.log("storage can be changed")
    yield Step("Ask for its pool types")
    for title, names in pool_types(facts).items():
        run.log(f"{title}: {', '.join(names) or 'none'}")
    _leave(run, connection)


def _compare_names(run: Run, host: Host, facts: HostFacts) -> None:
    """Not which: who sees this job may not see that host. Its page names those that one may see."""
    if Host.objects.filter(hostname=facts.hostname).exclude(pk=host.pk).exists():
        run.log(f"another host calls itself {facts.hostname} too; it may be the same machine")


def pool_types(facts: HostFacts) -> dict[str, list[str]]:
    supported, missing = "pool types of this libvirt", "not in this libvirt"
    found: dict[str, list[str]] = {supported: [], missing: []}
    for name, is_loaded in sorted(facts.pool_types.items()):
        found[supported if is_loaded else missing].append(pool_type(name).title)
    return found


def _leave(run: Run, connection: Connection) -> None:
    run.connections.remove(connection)
    connection.close()


def _next_step(job: Job) -> tuple[str, str] | None:
    if job.error_code in ("host_key_unknown", "host_key_changed"):
        return "Look at its key", reverse("hosts:key", args=[job.host_id])
    if job.error_code:
        return "Change how it is reached", reverse("hosts:edit", args=[job.host_id])
    return None


TEST = register(
    Operation(
        name="host.test",
        title="Test the connection",
        button="Test",
        sentence="Goes the whole way to its libvirt, step by step, and says where it ends.",
        icon="shield-check",
        right="host.manage",
        target=Host,
        find=find,
        is_coalesced=True,
        tests_the_way=True,
        run=_test,
        next_step=_next_step,
        virsh=lambda host, params: f"virsh -c {host.uri} version --daemon",
        label=lambda host, params: f"Test the connection to {host}",
    )
)
