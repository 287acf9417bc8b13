"""A configuration that somebody changes: fields and XML, two views of one text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from django import forms
from django.conf import settings
from django.http import QueryDict

from pools.configuration import history
from pools.forms import PoolFieldsForm, field_form
from pools.models import Pool, PoolConfiguration
from storagemgr.jobs import sealed
from storagemgr.virt import pool_xml
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_fields import Values, problems

# Far more than any pool needs. Comparing takes time that grows with the square of the lines.
LIMIT = 64 * 1024
TOO_LONG = f"This is longer than a configuration may be here, which is {LIMIT // 1024} KiB."
_FIXED = (("name", "name"), ("uuid", "UUID"))


class ConfigurationForm(PoolFieldsForm):
    """`was`: the values of the configuration in use. What is wrong there already may stay: libvirt took it."""

    def __init__(self, *args: Any, was: Values, **kwargs: Any) -> None:
        self.was = was
        super().__init__(*args, **kwargs)
        for one in self.fields.values():
            choices = getattr(one.widget, "choices", None)
            if choices is not None:
                one.widget.choices = self._with_unknown(one, list(choices))

    def _with_unknown(self, one: forms.Field, choices: list[Any]) -> list[Any]:
        """What the XML says stays to be chosen, though the table does not know it."""
        name = next(name for name, other in self.fields.items() if other is one)
        now = self.was.get(name, "")
        known = {value for value, _ in choices}
        return choices if now in known else [(now, now or "Not set"), *choices]

    def _problems(self, values: dict[str, Any]) -> dict[str, str]:
        return news(self.pool_type, super()._problems(values), values, self.was)

    def typed_changes(self, shown: Values) -> dict[str, Any]:
        """The fields that were changed since the page showed `shown`."""
        as_shown = type(self)(as_data(shown), was=self.was).typed_values()
        return {name: value for name, value in self.typed_values().items() if value != as_shown.get(name)}


def news(pool_type: str, found: Mapping[str, str], values: Values, was: Values) -> dict[str, str]:
    old = problems(pool_type, was)
    return {
        name: sentence
        for name, sentence in found.items()
        if old.get(name) != sentence or values.get(name) != was.get(name)
    }


def as_data(values: Values) -> dict[str, str]:
    """As a browser would send them."""
    return {name: "\n".join(value) if isinstance(value, list) else value for name, value in values.items()}


@dataclass
class Draft:
    """What the page shows. `said`: what is wrong with the XML, each with its line where it has one.

    `sealed`: a password that was typed on the way here, encrypted.
    """

    pool: Pool
    base: PoolConfiguration
    form: ConfigurationForm
    xml: str
    shown: str
    sealed: str = ""
    said: list[str] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        return not self.said and self.form.is_valid()

    @property
    def is_changed(self) -> bool:
        return bool(self.sealed) or not pool_xml.same(self.base.xml, self.xml)

    @property
    def wrong_fields(self) -> list[Any]:
        return [self.form[name] for name in self.form.errors if name in self.form.fields]


def opened(pool: Pool, base: PoolConfiguration) -> Draft:
    values = pool_xml.values_of(base.xml)
    form = _form(pool, values, values)
    return Draft(pool, base, form, base.xml, base.xml)


def posted(pool: Pool, base: PoolConfiguration, data: QueryDict) -> Draft:
    """What was typed on either side, brought together: the changed fields are put into the XML."""
    was = pool_xml.values_of(base.xml)
    text, shown = (lines_of(data.get(name, "")) for name in ("xml", "shown"))
    password = data.get("auth_password") or password_of(pool, data.get("sealed", ""))
    form = _form(pool, was, was, data, password)
    draft = Draft(pool, base, form, text, shown, _sealed(pool, password))
    if is_too_long(*data.values()):
        draft.said = [TOO_LONG]
        return draft
    try:
        draft.xml = _together(pool, form, text, shown or base.xml, password)
        draft.said = xml_problems(base.xml, draft.xml)
    except VirtError as error:
        draft.said = [error.detail]
        return draft
    if not fixed_problems(base.xml, draft.xml):
        draft.shown = draft.xml
        now = pool_xml.values_of(draft.xml)
        draft.sealed = draft.sealed if now.get("auth_user") else ""
        draft.form = _form(pool, was, now, as_data(now), password)
        told = [sentence for wrong in draft.form.errors.values() for sentence in wrong]
        draft.said = [said for said in draft.said if not any(sentence in said for sentence in told)]
    return draft


def _form(pool: Pool, was: Values, now: Values, data: Any = None, password: str = "") -> ConfigurationForm:
    """Of the values `now`. A password is there when one was typed, or a configuration of this pool names its secret."""
    named = now.get("auth_secret")
    is_known = bool(named) and history.of(pool).filter(xml__contains=named).exists()
    has_password = bool(password) or is_known
    values = {name: value for name, value in now.items() if has_password or name != "auth_secret"}
    kept = {"auth_password"} if has_password else set()
    made = field_form(pool.type, base=ConfigurationForm)
    return cast(ConfigurationForm, made(data, was=was, values=values, kept=kept))


def _together(pool: Pool, form: ConfigurationForm, text: str, shown: str, password: str) -> str:
    pool_xml.parse(text)
    try:
        before = pool_xml.values_of(shown)
    except VirtError:
        before = dict(form.was)
    changes = form.typed_changes(before)
    if password and changes.get("auth_user", pool_xml.values_of(text).get("auth_user")):
        changes["auth_secret"] = pool_xml.own_secret(str(pool.uuid))
    return pool_xml.edited(text, changes) if changes else text


def lines_of(text: str) -> str:
    """A browser ends lines as HTTP does."""
    return text.replace("\r\n", "\n")


def _sealed(pool: Pool, password: str) -> str:
    return sealed.seal({"auth_password": password, "pool": str(pool.uuid)}) if password else ""


def password_of(pool: Pool, text: str) -> str:
    """What _sealed() made for this pool, "" for anything else."""
    found = sealed.unseal(text)
    return found.get("auth_password", "") if found.get("pool") == str(pool.uuid) else ""


def is_too_long(*texts: str) -> bool:
    return any(len(text) > LIMIT for text in texts)


def is_xml(text: str) -> bool:
    if is_too_long(text):
        return False
    try:
        pool_xml.parse(text)
    except VirtError:
        return False
    return True


def xml_problems(was: str, xml: str) -> list[str]:
    """Why this cannot be the next configuration, as sentences. Raises xml_invalid when it is no XML of a pool."""
    root = pool_xml.parse(xml)
    found = fixed_problems(was, xml)
    old = {_without_line(said) for said in pool_xml.schema_problems(was)}
    found += [said for said in pool_xml.schema_problems(xml) if _without_line(said) not in old]
    dangers = pool_xml.check(xml, tuple(settings.POOL_PATHS), was=was)
    return found + [_with_line(root, said) for said in dangers]


def fixed_problems(was: str, xml: str) -> list[str]:
    """What was changed that would make it another pool."""
    old, new = pool_xml.parse(was), pool_xml.parse(xml)
    found = []
    if old.get("type") != new.get("type"):
        found.append(f"Line {new.sourceline}: the type stays {old.get('type')}. {ANOTHER_POOL}")
    for tag, word in _FIXED:
        before, after = old.findtext(tag, "").strip(), new.find(tag)
        if new.findtext(tag, "").strip() != before:
            line = new.sourceline if after is None else after.sourceline
            found.append(f"Line {line}: the {word} stays {before}. {ANOTHER_POOL}")
    return found


ANOTHER_POOL = "With another one libvirt would make another pool."


def _without_line(said: str) -> str:
    return re.sub(r"^Line \d+: ", "", said)


def _with_line(root: Any, said: str) -> str:
    """With the line of the element that the sentence quotes most of."""
    best, line = 0, 0
    for element in root.iter("*"):
        texts = [(element.text or "").strip(), f"<{element.tag}>", *element.attrib.values()]
        length = max((len(text) for text in texts if len(text) > 1 and text in said), default=0)
        if length > best:
            best, line = length, element.sourceline
    return f"Line {line}: {said}" if line else said


def all_problems(pool: Pool, was: str, xml: str, password: str = "") -> list[str]:
    """The same for a text that comes without a form; a field's sentence with its label before it."""
    if is_too_long(xml):
        return [TOO_LONG]
    try:
        found = xml_problems(was, xml)
    except VirtError as error:
        return [error.detail]
    if fixed_problems(was, xml):
        return found
    old, now = pool_xml.values_of(was), pool_xml.values_of(xml)
    form = _form(pool, old, now, as_data(now), password)
    for name, wrong in form.errors.items():
        told = [sentence for sentence in wrong if not any(sentence in said for said in found)]
        found += [f"{form.fields[name].label}: {sentence}" for sentence in told]
    return found
