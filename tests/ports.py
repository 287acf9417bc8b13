"""Ports for servers of the tests."""

import random
import socket

# Below those that the kernel gives to outgoing connections: one of these may take a port just before its server does.
LOWEST, HIGHEST = 20_000, 32_000


def free_port() -> int:
    """A port of 127.0.0.1 that is free, as is the one after it."""
    for _ in range(100):
        port = random.randrange(LOWEST, HIGHEST)
        if _is_free(port) and _is_free(port + 1):
            return port
    raise AssertionError(f"no free port between {LOWEST} and {HIGHEST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
