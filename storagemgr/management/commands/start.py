import fcntl
import http.client
import ipaddress
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import TextIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.urls import reverse

from storagemgr import first_start
from storagemgr.hosts import embedded
from storagemgr.service import Service, Supervisor

SOCKET_PATH_LIMIT = 107  # bytes in sockaddr_un, less the final NUL
# libvirtd is outside of an ordinary user's PATH.
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


class Command(BaseCommand):
    help = "Runs everything on this machine: web, workers, clock, Redis and, when nobody else does, libvirtd."
    requires_system_checks = []

    def handle(self, **options: object) -> None:
        self.bind, self.port = address(), port()
        try:
            with lock(settings.DATA_DIR / "start.lock"):
                check_port(self.bind, self.port)
                check_port(self.bind, settings.TRANSFER_PORT, "TRANSFER_PORT")
                first_start.migrate()
                first_start.collect_static()
                if problem := first_start.make_ssh_key():
                    self.stderr.write(problem)
                self.link = first_start.first_administrator_path()
                connection.close()
                supervisor = Supervisor([*backing_services(), *own_services(self.bind, self.port)])
                self.say = supervisor.log.write_plain
                supervisor.run(is_ready=self.answers, when_ready=self.welcome)
        except KeyboardInterrupt:
            sys.exit(130)

    def answers(self) -> bool:
        page = http.client.HTTPConnection(reachable(self.bind), self.port, timeout=1)
        try:
            page.request("GET", reverse(settings.LOGIN_URL))
            return page.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            page.close()

    def welcome(self) -> None:
        url = public_url(self.bind, self.port)
        lines = ["", "=" * 78, f"  storagemgr is ready: {url}/", "  Ctrl-C stops all of it."]
        if self.link:
            lines += ["", "  There is no administrator with a password yet. This page sets it, once:"]
            lines += [f"  {url}{self.link}"]
        self.say("\n".join([*lines, "=" * 78, ""]))


def address() -> str:
    text = os.environ.get("BIND", "127.0.0.1")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise CommandError(f"BIND={text} is not an IP address.") from error


def reachable(bind: str) -> str:
    """`bind`, or the loopback address when it stands for every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104


def public_url(bind: str, number: int) -> str:
    """Where a person finds the pages: with HTTPS behind a proxy, which has the first of our names."""
    if settings.USE_HTTPS:
        return f"https://{settings.ALLOWED_HOSTS[0]}"
    host = reachable(bind)
    return f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"


def port() -> int:
    text = os.environ.get("PORT", "8000")
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise CommandError(f"PORT={text} is not a port number.")
    return int(text)


def lock(path: Path) -> TextIO:
    """Held until the file is closed or the process is gone; it holds the process id."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = open(path, "a+")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise CommandError(f"Process {file.read()} already runs storagemgr on {path.parent}.") from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def check_port(bind: str, number: int, name: str = "PORT") -> None:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, number))
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {bind}:{number}: {error.strerror}. "
                f"Choose another port: make run {name}={number + 2 if number < 65534 else 8000}"
            ) from error


def backing_services() -> list[Service]:
    """What the others need and nobody else provides."""
    services = []
    if "REDIS_URL" not in os.environ:
        services.append(redis())
    # Ours is the only daemon that a client of ours should find or wait for.
    if settings.EMBEDDED_HOST and (daemon := embedded.daemon_to_run()):
        os.environ["LIBVIRT_AUTOSTART"] = "0"
        services.append(libvirtd(daemon))
    return services


def libvirtd(program: str) -> Service:
    """Its log goes to a file of this run: each client that leaves and each program that is not there is a line."""
    log = settings.DATA_DIR / "libvirtd.log"
    log.unlink(missing_ok=True)
    errors = {"LIBVIRT_LOG_OUTPUTS": f"4:file:{log}"}
    return Service("libvirtd", [program], backs_others=True, unless=embedded.is_served, env=errors)


def redis() -> Service:
    server = shutil.which("redis-server", path=PATH) or shutil.which("valkey-server", path=PATH)
    if not server:
        raise CommandError("Neither redis-server nor valkey-server is installed, and REDIS_URL is not set.")
    path, directory = settings.DATA_DIR / "redis.sock", settings.DATA_DIR / "redis"
    if len(os.fsencode(path)) > SOCKET_PATH_LIMIT:
        raise CommandError(f"{path} is too long for a unix socket. Set STORAGEMGR_DATA to a shorter path.")
    directory.mkdir(mode=0o700, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "loglevel": "warning",
        "logfile": "redis.log",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return Service("redis", [server, *arguments], backs_others=True)


def own_services(bind: str, number: int) -> list[Service]:
    jobs, sync = os.environ.get("JOB_PROCESSES", "4"), os.environ.get("SYNC_PROCESSES", "4")
    web = (
        "granian --interface wsgi --workers 2 --blocking-threads 4 --no-ws --http 1 --log-level warning"
        " --workers-kill-timeout 5"  # a worker that is told to stop while it loads the application never does
    )
    listen = ["--host", bind, "--port"]
    services = [
        Service("web", python_module(web, *listen, str(number), "storagemgr.wsgi:application")),
        Service("transfer", transfer(*listen, str(settings.TRANSFER_PORT))),
        worker("jobs", "-c", jobs, "--max-tasks-per-child", "1000"),
        worker("sync", "-c", sync),
        # The clock keeps its one entry in memory: a schedule file can be left broken by a kill.
        worker("tick", "-P", "solo", "-B", "--scheduler", "celery.beat:Scheduler"),
    ]
    if settings.EMBEDDED_HOST:
        services.append(Service("setup", [sys.executable, "manage.py", "embed_host"], once=True, delay_s=1))
    return services


def transfer(*listen: str) -> list[str]:
    """One process: it counts its streams. Beside them threads are left for those who ask for the offset."""
    threads = settings.TRANSFERS_AT_ONCE + 8
    return python_module(
        "granian --interface wsgi --workers 1 --no-ws --http 1 --log-level warning --workers-kill-timeout 5",
        *("--blocking-threads", str(threads), "--backpressure", str(4 * threads)),
        *listen,
        "volumes.transfer.wsgi:application",
    )


def worker(queue: str, *options: str) -> Service:
    common = "celery --quiet -A storagemgr worker --without-gossip --without-mingle -l WARNING"
    argv = python_module(common, "-Q", queue, "-n", f"{queue}@%h", *options)
    # As root it is meant: the system's libvirt lets nobody else in. The other is about late acknowledgement.
    known = "ignore:You're running the worker with superuser,ignore:::celery.worker.consumer.consumer"
    return Service(queue, argv, delay_s=1, env={"PYTHONWARNINGS": known})


def python_module(words: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", *words.split(), *arguments]
