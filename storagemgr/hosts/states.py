"""A state in one word for people, with its colour and its icon."""

from dataclasses import dataclass
from datetime import datetime

from storagemgr.hosts.models import Host


@dataclass(frozen=True)
class State:
    """`kind` is the colour: ok, warn, bad, or "" for what is neither."""

    kind: str
    icon: str
    word: str
    since: datetime | None = None


def host_state(host: Host) -> State:
    if host.needs_key and host.state == Host.State.UNKNOWN:
        return State("warn", "question-circle", "Key not confirmed")
    match host.state:
        case Host.State.UP:
            return State("ok", "check-circle", "Up", host.state_since)
        case Host.State.UNKNOWN:
            return State("", "hourglass-split", "Not read yet")
        case Host.State.DOWN:
            return State("bad", "wifi-off", "Down", host.state_since)
    return State("bad", "wifi-off", "Not answering", host.state_since)
