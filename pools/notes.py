"""What people know of a pool or a volume: owner, note, ticket, dates, and whether it is protected.

The forms, what is written, and the operations that pools and volumes have alike; pools/noting.py and
volumes/operations/keeping.py declare them.
"""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils import timezone

from pools.models import Notes
from storagemgr.access.objects import may
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import (
    Danger,
    Finding,
    Operation,
    OperationForm,
    Progress,
    Run,
    Step,
    place_of,
    register,
)
from storagemgr.templatetags.storage import NBSP, moment, printable, printable_lines

NOTE_LIMIT = 4000
LAST_YEAR = 2199
Save = Callable[[Any, dict[str, Any]], None]
Events = Iterator[Step | Progress]


def notes_of(target: Any) -> Notes | None:
    """Those of a pool or a volume, None where nobody wrote any."""
    found: Notes | None = getattr(target, "notes", None)
    return found


def is_protected(target: Any) -> bool:
    notes = notes_of(target)
    return bool(notes and notes.is_protected)


def was_protected(target: Any) -> bool:
    """Also when that is over by its date."""
    notes = notes_of(target)
    return bool(notes and notes.protected_at)


def day(value: date) -> str:
    return f"{value.day}{NBSP}{value:%b}{NBSP}{value.year}"


def protection_of(notes: Notes) -> str:
    """ "by anna since 3 Mar, until 30 Jun 2027: base of all web VMs" """
    since = f" since {moment(notes.protected_at)}" if notes.protected_at else ""
    until = f", until {day(notes.protected_until)}" if notes.protected_until else ""
    return f"by {notes.protected_by or 'somebody'}{since}{until}: {notes.protected_because}"


def one_line(text: str) -> None:
    if printable(text) != text:
        raise ValidationError("Only characters that can be seen, in one line.")


class LineField(forms.CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validators=[one_line], **kwargs)


class DayField(forms.DateField):
    """A day from today on; cleans to text as a job keeps it, "" for none."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
        errors = {"invalid": "Not a day. Write it as 2027-06-30."}
        super().__init__(
            required=False, input_formats=["%Y-%m-%d"], widget=widget, error_messages=errors, **kwargs
        )

    def clean(self, value: Any) -> str:
        found = super().clean(value)
        if found and found < timezone.localdate():
            raise ValidationError(f"{day(found)} is over. Take a day from today on.")
        if found and found.year > LAST_YEAR:
            raise ValidationError(f"That is too far away. Take a day before {LAST_YEAR + 1}.")
        return found.isoformat() if found else ""


class OwnerField(forms.TypedChoiceField):
    """A team, by its number; None for nobody."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(coerce=int, empty_value=None, required=False, **kwargs)


class NoteField(forms.CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            required=False, max_length=NOTE_LIMIT, widget=forms.Textarea(attrs={"rows": 4}), **kwargs
        )

    def to_python(self, value: Any) -> str:
        text = str(super().to_python(value)).replace("\r\n", "\n").replace("\r", "\n")
        if printable_lines(text) != text:
            raise ValidationError("Only characters that can be seen, and line breaks.")
        return text


class ReasonForm(OperationForm):
    reason = LineField(label="Why", max_length=400, help_text="Everybody who sees it here reads this.")


class ProtectForm(ReasonForm):
    until = DayField(label="Until", help_text="The last day. Empty: until somebody takes it away.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (notes := notes_of(self.target)) and notes.is_protected:
            self.initial.setdefault("reason", notes.protected_because)
            self.initial.setdefault("until", notes.protected_until)

    def clean(self) -> dict[str, Any]:
        """To shorten a protection is to take it away."""
        cleaned = super().clean() or {}
        notes, until = notes_of(self.target), cleaned.get("until")
        if until is None or notes is None or not notes.is_protected or _may_unprotect(self):
            return cleaned
        last = notes.protected_until
        if until and (last is None or until < last.isoformat()):
            now = f"until {day(last)}" if last else "without an end"
            self.add_error("until", f"It is protected {now}; to shorten that takes a manager of the pool.")
        return cleaned


def _may_unprotect(form: OperationForm) -> bool:
    place = place_of(form.target)
    return form.user is not None and may(form.user, "pool.unprotect", place.host_id, place.pool_uuid)


class OwnerForm(OperationForm):
    owner = OwnerField(
        label="Owner", help_text="A team. You can choose your own teams; a manager of the pool any."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        notes = notes_of(self.target) if self.target else None
        if notes:
            self.initial.setdefault("owner", notes.owner_id)
        teams = Group.objects.order_by("name")
        if self.target is None or not _may_unprotect(self):
            own = set(self.user.groups.values_list("pk", flat=True)) if self.user else set()
            teams = teams.filter(pk__in=own | {notes.owner_id if notes else None})
        named = [(team.pk, printable(team.name)) for team in teams]
        self.fields["owner"].choices = [("", "Nobody"), *named]  # type: ignore[attr-defined]


class NotesForm(OwnerForm):
    ticket = LineField(
        label="Ticket", required=False, max_length=200, help_text="A number or an address, https://..."
    )
    note = NoteField(label="Note")
    expires_on = DayField(label="Needed until", help_text="Nothing happens by itself then; it is marked.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if notes := notes_of(self.target):
            for name in ("ticket", "note", "expires_on"):
                self.initial.setdefault(name, getattr(notes, name))


def declare_notes(noun: str, save: Save, label: Callable[[str], Any], shared: dict[str, Any]) -> None:
    register(
        Operation(
            name=f"{noun}.note",
            title="Notes",
            sentence="Owner, ticket, note, and until when it is needed.",
            icon="journal-text",
            right="pool.note",
            form=NotesForm,
            run=writing(save),
            effects=lambda target: [f"It stands on the page of the {noun}. Nothing changes on the host."],
            label=label("Notes on"),
            **shared,
        )
    )


def declare_protect(
    noun: str, save: Save, label: Callable[[str], Any], shared: dict[str, Any], *, sentence: str, effect: str
) -> None:
    register(
        Operation(
            name=f"{noun}.protect",
            title="Protect",
            sentence=sentence,
            icon="shield-check",
            right="pool.note",
            form=ProtectForm,
            is_for_many=True,
            run=_protecting(save),
            effects=lambda target: [effect],
            label=label("Protect"),
            **shared,
        )
    )


def declare_unprotect(
    noun: str, save: Save, label: Callable[[str], Any], shared: dict[str, Any], *, sentence: str, effect: str
) -> None:
    register(
        Operation(
            name=f"{noun}.unprotect",
            title="Take the protection away",
            button="Unprotect",
            sentence=sentence,
            icon="shield-check",
            right="pool.unprotect",
            danger=Danger.ASKS,
            applies=was_protected,
            run=_unprotecting(save),
            effects=lambda target: [effect],
            label=label("Unprotect"),
            **shared,
        )
    )


def write(run: Run, save: Save, values: dict[str, Any]) -> None:
    """Saves, and tells the audit what stood there before."""
    notes = notes_of(run.target)
    before = {name: _plain(getattr(notes, name, None)) for name in values}
    save(run.target, values)
    run.change(before, {name: _plain(value) for name, value in values.items()})


def _plain(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    return "" if value is None else str(value)


def _protecting(save: Save) -> Callable[[Run], Events]:
    def run(run: Run) -> Events:
        params = run.job.params
        yield Step("Protect it")
        until = date.fromisoformat(params["until"]) if params["until"] else None
        about = {"protected_because": params["reason"], "protected_until": until}
        who = {"protected_by": run.job.requester_name, "protected_at": timezone.now()}
        write(run, save, about | who)

    return run


def _unprotecting(save: Save) -> Callable[[Run], Events]:
    def run(run: Run) -> Events:
        yield Step("Take the protection away")
        nothing = {"protected_because": "", "protected_by": "", "protected_until": None, "protected_at": None}
        write(run, save, nothing)

    return run


def writing(save: Save) -> Callable[[Run], Events]:
    def run(run: Run) -> Events:
        yield Step("Write it down")
        values = dict(run.job.params)
        if "owner" in values:
            # A team that was removed meanwhile owns nothing.
            owner = Group.objects.filter(pk=values.pop("owner")).first()
            values["owner"] = owner
        if "expires_on" in values:
            values["expires_on"] = date.fromisoformat(values["expires_on"]) if values["expires_on"] else None
        write(run, save, values)

    return run


def settle(run: Run) -> Finding:
    """One write in the database is there or not, and can be made again."""
    return Finding(Job.State.FAILED, "It may not have been written; ask for it again.", "nothing_done")
