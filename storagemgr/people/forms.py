"""Forms of teams, roles and grants."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import Group, User
from django.utils import timezone

from storagemgr.access import granting, rights
from storagemgr.access.models import Grant
from storagemgr.access.roles import RoleFacts, all_roles
from storagemgr.access.scopes import Actor, scope
from storagemgr.people import finding

PLAIN = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}


class TeamForm(forms.Form):
    """`group`: the one that is changed, None for a new one."""

    name = forms.CharField(
        max_length=150,
        label="Name",
        error_messages={"required": "Type a name."},
        widget=forms.TextInput(attrs=PLAIN),
    )
    note = forms.CharField(
        required=False,
        max_length=2000,
        label="Note",
        help_text="For your colleagues: what the team is for, whom to ask.",
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    outside_name = forms.CharField(
        required=False,
        max_length=200,
        label="Group at the identity provider",
        help_text="Its people become the members, at each sign-in. Empty: members are chosen here.",
        widget=forms.TextInput(attrs=PLAIN),
    )

    def __init__(self, *args: Any, group: Group | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("Leave out characters that cannot be seen.")
        others = Group.objects.exclude(pk=self.group.pk) if self.group else Group.objects.all()
        if others.filter(name__iexact=name).exists():
            raise forms.ValidationError("Another team has this name.")
        return name


class PlaceForm(forms.Form):
    """A role, where, and until when. `by`: who gives it. The cleaned `place` is a finding.Where.

    `refusal`: what they may not give, after validation; the errors say why.
    """

    role = forms.ChoiceField(
        label="Role", widget=forms.RadioSelect, error_messages={"required": "Choose one."}
    )
    place = forms.CharField(
        label="Where",
        max_length=64,
        error_messages={"required": "Choose one."},
        help_text="Type a part of the name of a host or a pool.",
    )
    until = forms.DateField(
        required=False,
        label="Last day",
        help_text="Empty: without an end.",
        error_messages={"invalid": "Type a day, such as 2026-12-31."},
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def __init__(self, *args: Any, by: Actor, is_needed: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.by = by
        self.refusal = ""
        self.roles = all_roles()
        offered = [role for role in self.roles.values() if may_offer(by, role)]
        none = [] if is_needed else [("", "No role yet")]
        self.fields["role"].choices = [*none, *((role.name, role.title) for role in offered)]
        self.fields["role"].required = self.fields["place"].required = is_needed
        self.fields["until"].widget.attrs["min"] = timezone.localdate().isoformat()

    def clean_place(self) -> finding.Where | None:
        value = self.cleaned_data["place"]
        found = finding.where(self.by, value) if value else None
        if value and found is None:
            raise forms.ValidationError("This place is not there any more. Choose another one.")
        return found

    def clean_until(self) -> Any:
        day = self.cleaned_data["until"]
        if day and day < timezone.localdate():
            raise forms.ValidationError("This day is over.")
        return granting.end_of(day) if day else None

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        role, place = values.get("role"), values.get("place")
        if role and not place and "place" not in self.errors:
            self.add_error("place", "Choose where the role holds.")
        if not role and not place and finding.typed(self.data, "place") and "place" not in self.errors:
            self.add_error("place", "Choose the place and its role, or empty the search.")
        if place and not role and "role" not in self.errors:
            self.add_error("role", "Choose the role that holds there.")
        if role and place:
            self._check_right(role, place, values.get("until"))
        return values

    def _check_right(self, role: str, place: finding.Where, until: Any) -> None:
        if why := granting.why_not(self.by, role, place.host_id, place.pool_uuid):
            self.refusal = f"{self.roles[role].title} on {place.place.text}"
            self.add_error("role", why)
            return
        wanted = Grant(role=role, host=place.host, pool_uuid=place.pool_uuid, expires_at=until)
        if "until" not in self.errors and (why := granting.why_not_so_long(self.by, wanted)):
            self.refusal = f"{self.roles[role].title} on {place.place.text}"
            self.add_error("until", why)


def may_offer(by: Actor, role: RoleFacts) -> bool:
    """Whether the person could grant it anywhere."""
    held = [scope(by, right) for right in (granting.RIGHT, *role.rights)]
    return all(one.everything or one.hosts or one.pools for one in held)


class GrantForm(PlaceForm):
    holder = forms.CharField(
        label="Who",
        max_length=64,
        error_messages={"required": "Choose a person or a team."},
        help_text="Type a part of the name of a person or a team.",
    )
    field_order = ("holder", "role", "place", "until")

    def clean_holder(self) -> User | Group:
        found = finding.holder(self.cleaned_data["holder"])
        if found is None:
            raise forms.ValidationError("Nobody is there by this name any more. Choose again.")
        return found


class NewTeamForm(TeamForm, PlaceForm):
    members = forms.Field(
        required=False,
        label="Members",
        widget=forms.SelectMultiple,
        help_text="Type a part of a name. More can be added at any time.",
    )
    field_order = ("name", "note", "members", "outside_name", "role", "place", "until")

    def clean_members(self) -> list[User]:
        found = [finding.person(value) for value in dict.fromkeys(self.cleaned_data["members"] or [])]
        if not all(found):
            raise forms.ValidationError("One of them is not there any more. Look them up again.")
        if finding.typed(self.data, "members") and not found:
            raise forms.ValidationError("Tick who is meant, or empty the search.")
        return [user for user in found if user]


class RoleForm(forms.Form):
    """`role`: the one that is changed, None for a new one."""

    title = forms.CharField(
        max_length=64,
        label="Name",
        error_messages={"required": "Type a name."},
        widget=forms.TextInput(attrs=PLAIN),
    )
    rights = forms.MultipleChoiceField(
        label="Rights",
        choices=[(right, words) for right, words in rights.RIGHTS.items()],
        error_messages={"required": "Tick what the role may do."},
        widget=forms.CheckboxSelectMultiple,
    )
    needs_mfa = forms.BooleanField(
        required=False,
        label="Only with a second factor",
        help_text="From now on whoever holds it must first set up an app or a key: no other page opens before. "
        "So must whoever holds more than it gives, and accounts above all grants.",
    )

    def __init__(self, *args: Any, role: RoleFacts | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.role = role
        if role and role.is_built_in:
            del self.fields["title"], self.fields["rights"]

    def clean_title(self) -> str:
        title = self.cleaned_data["title"]
        if not title.isprintable():
            raise forms.ValidationError("Leave out characters that cannot be seen.")
        others: Mapping[str, RoleFacts] = all_roles()
        if any(
            o.title.lower() == title.lower()
            for o in others.values()
            if not self.role or o.name != self.role.name
        ):
            raise forms.ValidationError("Another role has this name.")
        return title

    def clean_rights(self) -> frozenset[str]:
        wanted = frozenset(self.cleaned_data["rights"])
        if wanted & rights.POOL_RIGHTS.keys() and "pool.view" not in wanted:
            raise forms.ValidationError(
                "Tick “see the pool and its volumes” too: nobody uses what they do not see."
            )
        return wanted
