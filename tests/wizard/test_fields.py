"""Wrong input in every field of every type: the message is beside it, what was typed stays, no job is made."""

import html
import re

import pytest
from wizard_tools import words

from pools.forms import field_form
from storagemgr.jobs.models import Job
from storagemgr.virt.pool_fields import FIELDS

pytestmark = pytest.mark.django_db

EVERY = [(type_, field) for type_, fields in FIELDS.items() for field in fields]
REQUIRED = [(type_, field) for type_, field in EVERY if field.required]
# By the name of the check: what no such field takes.
WRONG = {
    "path": "/etc/pool",
    "device_dir": "/srv/devices",
    "device": "/srv/disk",
    "port": "70000",
    "monitor": "ceph1:x",
    "password": "a\x07b",
    "cephx_key": "not base64",
    "number": "-1",
    "mode": "0999",
    "version": "five",
    "user": "tab\there",
    "export": "relative/path",
    "share": "a\x07b",
}
GOOD = {
    "path": "/srv/vm",
    "device_dir": "/dev/disk/by-path",
    "device": "/dev/sdb",
    "export": "/export/vm",
    "share": "/export/vm",
    "iqn": "iqn.2026-01.com.example:disks",
    "monitor": "ceph1",
    "dataset": "tank/vms",
    "host": "nas1",
}


def id_of(pair):
    return pair.name if hasattr(pair, "name") else str(pair)


def good_values(type_, but):
    values = {"adapter_name": "host2"} if type_ == "scsi" and but != "adapter_name" else {}
    for field in FIELDS[type_]:
        if (field.required or field.initial) and field.name != but:
            values[field.name] = field.initial or GOOD.get(field.takes, "name")
    return values


def step_of(field):
    return "source" if field.group == "source" else "options"


def send_wrong(maker, host, type_, field, value):
    """The answer to a form in which this field alone is wrong."""
    host.pool_types = dict.fromkeys(FIELDS, True)
    host.save()
    making = maker(host)
    making.send("type", type=type_)
    values = good_values(type_, field.name)
    draft = making.draft
    draft.values = {f.name: [values[f.name]] if f.kind == "lines" else values[f.name]
                    for f in FIELDS[type_] if f.name in values}  # fmt: skip
    draft.name = "web"
    draft.save()
    options = {"name": "web", "persistent": "yes", "build": "no"}
    group = {f.name for f in FIELDS[type_] if step_of(f) == step_of(field)}
    sent = {name: given for name, given in values.items() if name in group} | {field.name: value}
    return making, making.post(step_of(field), **(options if step_of(field) == "options" else {}) | sent)


def message_beside(page, field):
    """What stands beside the field, which says so itself (aria-describedby)."""
    text = page.content.decode()
    found = re.search(rf'id="id_{field.name}_error"[^>]*>([^<]+)<', text)
    assert found, words(page)
    control = re.search(rf'<(?:input|select|textarea)[^>]*name="{field.name}"[^>]*>', text)
    assert control
    assert 'aria-invalid="true"' in control[0]
    assert f"id_{field.name}_error" in control[0]
    return html.unescape(found[1])


@pytest.mark.parametrize(("type_", "field"), EVERY, ids=id_of)
def test_wrong_input_is_said_beside_the_field(maker, host, type_, field):
    wrong = "none of them" if field.kind == "choice" else WRONG.get(field.takes, "two words; rm -rf")
    making, page = send_wrong(maker, host, type_, field, wrong)
    assert page.status_code == 422, words(page)
    assert len(message_beside(page, field)) > 8
    text = html.unescape(page.content.decode())
    if field.kind == "secret":
        assert wrong not in text
    elif field.kind != "choice":
        assert wrong in text
        assert html.unescape(making.get(step_of(field)).content.decode()).count(wrong) >= 1
    assert not Job.objects.exists()


@pytest.mark.parametrize(("type_", "field"), REQUIRED, ids=id_of)
def test_what_is_missing_is_said_beside_the_field(maker, host, type_, field):
    _, page = send_wrong(maker, host, type_, field, "")
    assert page.status_code == 422
    assert message_beside(page, field) == f"{field.label} is missing."
    assert not Job.objects.exists()


@pytest.mark.parametrize("type_", FIELDS)
def test_a_form_has_a_field_for_each_and_no_other(type_):
    assert list(field_form(type_).base_fields) == [field.name for field in FIELDS[type_]]
    assert set(field_form(type_, "source").base_fields) == {
        f.name for f in FIELDS[type_] if f.group == "source"
    }


def test_pools_may_be_confined_to_directories(maker, host, settings):
    settings.POOL_PATHS = ["/vm"]
    making = maker(host)
    making.send("type", type="dir")
    given = {"name": "web", "persistent": "yes", "build": "yes"}
    page = making.post("options", **given, target_path="/vm-evil/a")
    assert "is not below /vm." in message_beside(page, FIELDS["dir"][0])
    assert making.send("options", **given, target_path="/vm/a") == "review"


@pytest.mark.parametrize("place", ["DATA_DIR", "BASE_DIR"])
@pytest.mark.parametrize("below", ["", "/ssh"])
def test_no_pool_is_where_this_program_keeps_its_keys_and_code(maker, host, settings, place, below):
    making = maker(host)
    making.send("type", type="dir")
    given = {"name": "web", "persistent": "yes", "build": "no"}
    page = making.post("options", **given, target_path=f"{getattr(settings, place)}{below}")
    assert "belongs to this program" in message_beside(page, FIELDS["dir"][0])


def test_the_same_field_wrong_with_a_hostile_value_stays_text(maker, host):
    making = maker(host)
    making.send("type", type="netfs")
    page = making.post("source", source_host='"><script>alert(1)</script>', source_dir="/x", format="nfs")
    assert page.status_code == 422
    assert "<script>alert" not in page.content.decode()
