"""Calls of libvirt that may never return.

A dead mount or a frozen daemon holds a call until it comes back, and nothing ends it: a client that is killed
leaves its call behind in the daemon, which has 25 threads for all of its clients and is frozen for everybody when
they are used up. So a call that is overdue is left in its thread and not made again. Its return is the news that
the host or the pool answers again.
"""

import threading
from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Generic, TypeVar

from django.db import connections
from django.utils import timezone

from storagemgr.virt.errors import VirtError

T = TypeVar("T")

_overdue: dict[Hashable, "_Call[object]"] = {}


class Overdue(Exception):
    """The call did not return in time and goes on in its thread."""


def within(
    seconds: float, key: Hashable, function: Callable[[], T], when_back: Callable[[T | None], None]
) -> T:
    """What `function` returns or the VirtError that it raises, if that takes no longer than `seconds`.

    Else Overdue; then `when_back` is called in the call's thread once it returns, with None after an error.
    `function` touches no database.
    """
    call = _Call(key, function, when_back)
    call.start()
    call.ended.wait(seconds)
    return call.take()


def overdue_since(key: Hashable) -> datetime | None:
    """When the call that this process still waits for was made."""
    call = _overdue.get(key)
    return call.made_at if call else None


class _Call(threading.Thread, Generic[T]):
    def __init__(
        self, key: Hashable, function: Callable[[], T], when_back: Callable[[T | None], None]
    ) -> None:
        super().__init__(name=f"libvirt call for {key}", daemon=True)
        self.key = key
        self.function = function
        self.when_back = when_back
        self.made_at = timezone.now()
        self.ended = threading.Event()
        self.has_result = False
        self.result: T | None = None
        self.error: VirtError | None = None
        self._is_overdue = False
        self._lock = threading.Lock()

    def run(self) -> None:
        try:
            self.result = self.function()
            self.has_result = True
        except VirtError as error:
            self.error = error
        finally:
            with self._lock:
                self.ended.set()
            if self._is_overdue:
                self._come_back()

    def take(self) -> T:
        with self._lock:
            if not self.ended.is_set():
                self._is_overdue = True
                _overdue[self.key] = self  # type: ignore[assignment]
                raise Overdue(self.name)
        if self.error:
            raise self.error
        if not self.has_result:
            raise RuntimeError(f"{self.name} failed by a fault of ours; its traceback stands above")
        return self.result  # type: ignore[return-value]

    def _come_back(self) -> None:
        if _overdue.get(self.key) is self:
            del _overdue[self.key]
        try:
            self.when_back(self.result)
        finally:
            connections.close_all()
