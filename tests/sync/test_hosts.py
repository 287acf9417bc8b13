import os
import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone
from stack import wait_for
from sync_tools import close_connections, host_of, read_host

from storagemgr.hosts import calls
from storagemgr.hosts import sync as host_sync
from storagemgr.hosts.models import Host
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from volumes import tasks


def test_a_host_that_answers_is_up_and_says_what_it_is(read):
    host = read()
    assert (host.state, host.failures, host.error_code) == ("up", 0, "")
    assert host.hostname == os.uname().nodename
    assert host.libvirt_version.count(".") == 2
    assert host.pool_types["dir"] is True
    assert host.reading_since is None
    assert host.next_read_at - host.seen_at < timedelta(seconds=2)


def test_a_second_reading_uses_the_same_connection(read, daemon):
    read()
    first = dict(host_sync._connections)
    read()
    assert host_sync._connections == first


def test_the_connection_to_a_host_that_was_removed_is_closed(read, host, own_daemon):
    read()
    [connection] = host_sync._connections.values()
    host.delete()
    assert read_host(host_of(own_daemon, "kvm2")).state == "up"
    wait_for(lambda: not connection.alive, 5)
    assert connection not in host_sync._connections.values()


def test_a_host_is_read_only_when_it_is_due(read, host):
    read()
    seen_at = Host.objects.get(pk=host.pk).seen_at
    tasks.read_host(host.pk)
    assert Host.objects.get(pk=host.pk).seen_at == seen_at


def test_a_host_that_is_gone_is_not_read(db):
    tasks.read_host(404)
    assert not Host.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_reader_gets_the_host(daemon):
    host = host_of(daemon)
    claims = []
    start = threading.Barrier(4)

    def claim():
        start.wait()
        claims.append(host_sync.claim(host.pk))
        connections.close_all()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found is not None for found in claims) == [False, False, False, True]


def test_a_reader_that_vanished_holds_the_host_for_a_minute(host):
    assert host_sync.claim(host.pk)
    assert host_sync.claim(host.pk) is None
    Host.objects.filter(pk=host.pk).update(reading_since=timezone.now() - host_sync.READER_GONE)
    assert host_sync.claim(host.pk)


def test_a_reader_that_was_given_up_takes_no_claim_from_the_next(host):
    first = host_sync.claim(host.pk)
    Host.objects.filter(pk=host.pk).update(reading_since=timezone.now())
    host_sync.release(first, 0)
    assert Host.objects.get(pk=host.pk).reading_since


def test_a_fault_of_ours_gives_the_host_back(host, monkeypatch):
    def fault(*_):
        raise ValueError

    monkeypatch.setattr(tasks.pool_sync, "read_pools", fault)
    with pytest.raises(ValueError):  # noqa: PT011
        read_host(host)
    host.refresh_from_db()
    assert host.reading_since is None
    assert host.next_read_at > timezone.now() + timedelta(seconds=5)


def test_a_daemon_that_is_gone_makes_the_host_down_until_it_is_back(db, own_daemon):
    host = host_of(own_daemon)
    assert read_host(host).state == "up"
    own_daemon.kill()
    down = read_host(host)
    assert (down.state, down.error_code, down.failures) == ("down", "daemon_stopped", 1)
    assert down.error_text
    assert down.next_read_at > timezone.now() + timedelta(seconds=3)
    again = read_host(host)
    assert (again.failures, again.state_since) == (2, down.state_since)
    own_daemon.start()
    up = read_host(host)
    assert (up.state, up.failures, up.error_code, up.error_text) == ("up", 0, "", "")
    assert up.state_since > down.state_since
    assert up.facts_read_at > down.facts_read_at
    close_connections()


def test_the_pause_grows_to_ten_seconds(host, settings):
    pauses = []
    for host.failures in range(5):
        pauses.append(host_sync.pause_s(host))
    assert pauses == [settings.READ_PERIOD, 4, 8, 10, 10]


def test_a_connection_that_breaks_in_the_middle_is_told(host, monkeypatch):
    def broken(*_):
        raise VirtError("connection_lost", "End of file while reading data")

    monkeypatch.setattr(tasks.pool_sync.virt_pools, "list_pools", broken)
    host = read_host(host)
    assert (host.state, host.error_code) == ("down", "connection_lost")
    assert not host_sync._connections
    monkeypatch.undo()
    assert read_host(host).state == "up"


@pytest.mark.django_db(transaction=True)
def test_a_frozen_daemon_is_silent_and_asked_once(own_daemon, monkeypatch):
    host = host_of(own_daemon)
    read_host(host)
    monkeypatch.setattr(host_sync, "ANSWER_S", 0.5)
    own_daemon.freeze()
    silent = read_host(host)
    assert (silent.state, silent.error_code) == ("silent", "not_answering")
    threads = threading.active_count()
    for _ in range(3):
        again = read_host(host)
    assert threading.active_count() == threads
    assert (again.failures, again.state_since) == (silent.failures, silent.state_since)
    own_daemon.thaw()
    wait_for(lambda: host_sync.due(timezone.now()).exists(), 5, "the late answer makes the host due")
    assert read_host(host).state == "up"
    close_connections()


@pytest.mark.django_db(transaction=True)
def test_slow_facts_are_no_silence(daemon, monkeypatch):
    host, release = host_of(daemon), threading.Event()
    facts = Connection.facts

    def slow(connection):
        release.wait(20)
        return facts(connection)

    monkeypatch.setattr(Connection, "facts", slow)
    monkeypatch.setattr(host_sync, "ANSWER_S", 1.0)
    read = read_host(host)
    assert (read.state, read.hostname) == ("up", "")
    release.set()
    wait_for(lambda: Host.objects.get(pk=host.pk).hostname, 5, "the late facts are written")
    wait_for(lambda: not calls.overdue_since(("facts", host.pk)), 5)
    close_connections()
