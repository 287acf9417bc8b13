import os
import subprocess
import sys
import threading
import time

import pytest
from daemon import PrivateDaemon

from storagemgr.virt import connection, daemon_process
from storagemgr.virt.connection import Connection, connect, local_uri
from storagemgr.virt.errors import VirtError


def run_python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_socket_is_quoted_in_the_uri():
    assert local_uri("system") == "qemu:///system"
    uri = local_uri("session", "/tmp/a b&c=d#e/sock")
    assert uri == "qemu+unix:///session?socket=/tmp/a%20b%26c%3Dd%23e/sock"
    assert str(daemon_process.storage_socket(uri)) == "/tmp/a b&c=d#e/sock"


def test_a_connection_says_where_it_is(c: Connection):
    c.ping()
    facts = c.facts()
    assert c.alive
    assert facts.driver == "QEMU"
    assert facts.hostname == os.uname().nodename
    assert facts.libvirt_version.count(".") == 2
    assert facts.pool_types["dir"] is True
    assert facts.pool_types["sheepdog"] is False


def test_the_test_driver_has_no_pool_capabilities():
    with connect("test:///default") as c:
        assert c.facts().pool_types == {}
        assert c.daemon_id() is None


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("qemu+unix:///system?socket=/nonexistent", "daemon_stopped"),
        ("nodriver:///system", "daemon_stopped"),
        ("qemu+tcp://127.0.0.1:1/system", "port_refused"),
    ],
)
def test_a_daemon_that_is_not_there_is_unreachable(uri: str, code: str):
    with pytest.raises(VirtError) as caught:
        connect(uri)
    assert caught.value.code == code
    assert caught.value.detail


def test_a_killed_daemon_is_a_lost_connection(own_daemon: PrivateDaemon):
    c = connect(own_daemon.uri)
    own_daemon.kill()
    for _ in range(2):
        with pytest.raises(VirtError) as caught:
            c.ping()
        assert caught.value.code == "connection_lost"
    assert not c.alive
    c.close()
    with pytest.raises(VirtError) as caught:
        connect(own_daemon.uri)
    assert caught.value.code == "daemon_stopped"


def test_a_frozen_daemon_fails_the_call_after_the_keepalive(
    own_daemon: PrivateDaemon, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection, "KEEPALIVE_INTERVAL_S", 1)
    monkeypatch.setattr(connection, "KEEPALIVE_COUNT", 1)
    with connect(own_daemon.uri) as c:
        c.ping()
        own_daemon.freeze()
        rescue = threading.Timer(8, own_daemon.thaw)
        rescue.start()
        began = time.monotonic()
        with pytest.raises(VirtError) as caught:
            c.ping()
        rescue.cancel()
        assert caught.value.code == "connection_lost"
        assert 1 < time.monotonic() - began < 6
        assert not c.alive


def test_the_daemon_is_named_by_its_process(own_daemon: PrivateDaemon):
    with connect(own_daemon.uri) as c:
        before = c.daemon_id()
        assert before is not None
        assert before.startswith(f"{own_daemon.pid}:")
        assert c.daemon_id() == before
        own_daemon.kill()
        assert c.daemon_id() is None
    own_daemon.start()
    with connect(own_daemon.uri) as c:
        assert c.daemon_id() not in (None, before)


def test_a_frozen_daemon_still_has_its_name(own_daemon: PrivateDaemon):
    before = daemon_process.identity(own_daemon.uri)
    own_daemon.freeze()
    assert daemon_process.identity(own_daemon.uri) == before is not None


@pytest.mark.parametrize(
    ("uri", "socket"),
    [
        ("test:///default", None),
        ("qemu+ssh://host/system", None),
        ("qemu+tls://host/system", None),
        ("qemu+unix:///system?socket=/s/virtqemud-sock", "/s/virtstoraged-sock"),
        ("test+unix:///default?socket=/s/libvirt-sock", "/s/libvirt-sock"),
    ],
)
def test_the_storage_socket_of_a_uri(uri: str, socket: str | None):
    found = daemon_process.storage_socket(uri)
    assert (found and str(found)) == socket


def test_the_session_socket_follows_xdg(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert daemon_process.storage_socket("qemu:///session") == tmp_path / "libvirt/libvirt-sock"
    (tmp_path / "libvirt").mkdir()
    (tmp_path / "libvirt/virtqemud-sock").touch()
    assert daemon_process.storage_socket("qemu:///session") == tmp_path / "libvirt/virtstoraged-sock"


def test_an_activated_daemon_is_named_by_its_pid_file(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(daemon_process, "_listener", lambda path: 1)
    (tmp_path / "libvirtd.pid").write_text(f"{os.getpid()}\n")
    uri = local_uri("session", str(tmp_path / "libvirt-sock"))
    named = daemon_process.identity(uri)
    assert named is not None
    assert named.startswith(f"{os.getpid()}:")
    (tmp_path / "libvirtd.pid").unlink()
    assert daemon_process.identity(uri) is None


def test_an_import_starts_nothing():
    done = run_python("import threading, storagemgr.virt.volumes; print(threading.active_count())")
    assert done.stdout.strip() == "1", done.stderr


def test_codes_and_types_import_without_libvirt():
    done = run_python(
        "import sys; sys.modules['libvirt'] = None\n"
        "import storagemgr.virt.errors, storagemgr.virt.pool_types, storagemgr.virt.addresses\n"
        "import storagemgr.virt.daemon_process; print('ok')"
    )
    assert done.stdout.strip() == "ok", done.stderr


def test_libvirt_prints_nothing_and_the_process_ends(daemon: PrivateDaemon):
    began = time.monotonic()
    done = run_python(
        "import sys; from storagemgr.virt import connection, errors, pools\n"
        "c = connection.connect(sys.argv[1])\n"
        "try: pools.read_pool(c, '00000000-0000-0000-0000-000000000001')\n"
        "except errors.VirtError as error: print(error.code)",
        daemon.uri,
    )
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("no_pool", "", 0)
    assert time.monotonic() - began < 5


def test_a_connection_after_a_fork_of_the_loop_is_refused(daemon: PrivateDaemon):
    done = run_python(
        "import os, sys; from storagemgr.virt.connection import connect\n"
        "connect(sys.argv[1])\n"
        "if os.fork() == 0:\n"
        "    try: connect(sys.argv[1])\n"
        "    except RuntimeError as error: print(error, flush=True)\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))",
        daemon.uri,
    )
    assert "before the fork" in done.stdout, done.stderr
    assert done.stdout.strip().endswith("0")


def test_a_connection_opened_after_the_fork_works(daemon: PrivateDaemon):
    done = run_python(
        "import os, sys; from storagemgr.virt.connection import connect\n"
        "if os.fork() == 0:\n"
        "    c = connect(sys.argv[1]); c.ping(); print(c.alive, flush=True); os._exit(0)\n"
        "os.wait()",
        daemon.uri,
    )
    assert done.stdout.strip() == "True", done.stderr
