"""What people know of a pool or a volume: owner, note, ticket, dates, and whether it is protected."""

from datetime import date

from pools.models import Notes
from storagemgr.templatetags.storage import NBSP, moment


def day(value: date) -> str:
    return f"{value.day}{NBSP}{value:%b}{NBSP}{value.year}"


def protection_of(notes: Notes) -> str:
    """ "by anna since 3 Mar, until 30 Jun 2027: base of all web VMs" """
    since = f" since {moment(notes.protected_at)}" if notes.protected_at else ""
    until = f", until {day(notes.protected_until)}" if notes.protected_until else ""
    return f"by {notes.protected_by or 'somebody'}{since}{until}: {notes.protected_because}"
