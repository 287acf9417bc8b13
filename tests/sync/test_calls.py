"""Calls that do not return in time."""

import threading
import time

import pytest
from stack import wait_for

from storagemgr.hosts import calls
from storagemgr.virt.errors import VirtError


def fail():
    raise VirtError("no_pool")


def test_a_call_that_returns_in_time_gives_its_result():
    assert calls.within(5, "key", lambda: 7, lambda late: None) == 7
    assert calls.overdue_since("key") is None


def test_a_call_that_fails_raises_what_libvirt_said():
    with pytest.raises(VirtError) as raised:
        calls.within(5, "key", fail, lambda late: None)
    assert raised.value.code == "no_pool"


def test_a_fault_of_ours_is_not_taken_for_an_answer(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    with pytest.raises(RuntimeError):
        calls.within(5, "key", lambda: {}["missing"], lambda late: None)
    assert seen[0].exc_type is KeyError


@pytest.mark.parametrize("fails", [False, True])
def test_an_overdue_call_is_remembered_until_it_returns(fails):
    release, came_back = threading.Event(), []

    def hang():
        release.wait(10)
        return fail() if fails else "late"

    began = time.monotonic()
    with pytest.raises(calls.Overdue):
        calls.within(0.05, "key", hang, came_back.append)
    assert time.monotonic() - began < 1
    assert calls.overdue_since("key")
    release.set()
    wait_for(lambda: came_back, 5)
    assert came_back == [None if fails else "late"]
    assert calls.overdue_since("key") is None
