import re
import uuid

import pytest
from django.urls import reverse

from storagemgr.access.models import AuditEvent
from storagemgr.jobs.models import Job, JobLock
from storagemgr.templatetags.storage import printable
from volumes.models import DiskUse

pytestmark = pytest.mark.django_db
S = Job.State


def url(volume, slug):
    return reverse("volumes:operate", kwargs={"pk": volume.pk, "slug": slug})


def pool_url(pool, slug):
    return reverse("pools:operate", kwargs={"pk": pool.pk, "slug": slug})


def key_in(response):
    return re.search(r'name="key" value="([0-9a-f-]{36})"', response.content.decode())[1]


def text(response):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", response.content.decode()))


def use(volume, name="vm1"):
    fields = {"host": volume.pool.host, "domain_uuid": uuid.uuid4(), "kind": "disk", "running": True}
    return DiskUse.objects.create(volume=volume, domain_name=name, **fields)


def test_the_virsh_line_has_what_the_form_offers(as_operator, pool):
    page = text(as_operator.get(reverse("volumes:create", args=[pool.pk])))
    assert f"vol-create-as {pool.name} NAME SIZE --format qcow2 --allocation 0" in page


def test_the_page_says_what_will_happen_and_shows_the_virsh_line(as_operator, volume):
    page = as_operator.get(url(volume, "clone"))
    assert page.status_code == 200
    assert "<h1>Clone web01.qcow2</h1>" in page.content.decode()
    assert "libvirt cannot stop a copy once it runs." in text(page)
    assert "vol-clone --pool default web01.qcow2 NAME" in text(page)


def test_each_rendering_has_a_key_of_its_own(as_operator, volume):
    assert key_in(as_operator.get(url(volume, "clone"))) != key_in(as_operator.get(url(volume, "clone")))


def test_a_good_form_is_a_job_and_leads_to_its_page(as_operator, operator, volume):
    key = uuid.uuid4()
    response = as_operator.post(url(volume, "clone"), {"key": key, "name": "copy.qcow2"})
    job = Job.objects.get(key=key)
    assert (response.status_code, response.url) == (303, reverse("jobs:job", args=[job.pk]))
    assert (job.requested_by, job.params["name"], job.state) == (operator, "copy.qcow2", "queued")
    asked = AuditEvent.objects.get(job_id=job.pk, outcome="asked")
    assert (asked.action, asked.address) == ("volume.clone", "127.0.0.1")


def test_the_same_key_twice_is_one_job(as_operator, volume):
    data = {"key": uuid.uuid4(), "name": "copy.qcow2"}
    first, second = as_operator.post(url(volume, "clone"), data), as_operator.post(url(volume, "clone"), data)
    assert first.url == second.url
    assert Job.objects.count() == 1


def test_a_second_click_after_the_end_is_the_same_job_and_no_refusal(as_operator, pool):
    pool.state = "inactive"
    pool.save()
    key = {"key": uuid.uuid4()}
    as_operator.post(pool_url(pool, "start"), key)
    Job.objects.update(state=S.SUCCEEDED)
    pool.state = "running"
    pool.save()
    again = as_operator.post(pool_url(pool, "start"), key)
    assert (again.status_code, again.url) == (303, pool.get_absolute_url())
    assert Job.objects.count() == 1


def test_a_key_of_somebody_else_is_not_recognized(client, manager, volume, make_job):
    job = make_job()
    client.force_login(manager)
    response = client.post(url(volume, "clone"), {"key": job.key, "name": "bad name"})
    assert response.status_code == 422


def test_a_bad_field_is_named_beside_it_and_what_was_typed_stays(as_operator, volume):
    key = str(uuid.uuid4())
    page = as_operator.post(url(volume, "clone"), {"key": key, "name": "../etc/<passwd>"})
    html = page.content.decode()
    assert page.status_code == 422
    assert 'value="../etc/&lt;passwd&gt;"' in html
    control = re.search(r'<input[^>]*name="name"[^>]*>', html)[0]
    assert 'aria-invalid="true"' in control
    assert 'aria-describedby="id_name_error"' in control
    assert re.search(r'id="id_name_error"[^>]*>[^<]*no slashes', html)
    assert re.search(r'id="errors" tabindex="-1" autofocus', html)
    assert "1 field needs a change." in text(page).replace("\N{NO-BREAK SPACE}", " ")
    assert key_in(page) == key
    assert not Job.objects.exists()


@pytest.mark.parametrize("data", [{}, {"key": ""}, {"key": "1' OR 1"}, {"key": "\x00"}])
def test_a_lost_key_is_said_and_replaced(as_operator, volume, data):
    page = as_operator.post(url(volume, "clone"), {"name": "copy.qcow2"} | data)
    assert page.status_code == 422
    assert "had lost its number" in text(page)
    assert uuid.UUID(key_in(page))
    assert 'value="copy.qcow2"' in page.content.decode()
    assert not Job.objects.exists()


def test_several_bad_fields(as_operator, pool):
    page = as_operator.post(
        reverse("volumes:create", args=[pool.pk]), {"key": uuid.uuid4(), "name": "", "capacity": "20"}
    )
    assert page.status_code == 422
    assert "need a change." in text(page)
    assert "Add the unit, for example 20 GiB." in text(page)


def test_a_destroying_operation_wants_the_exact_name(as_manager, volume):
    for typed in ("", "WEB01.qcow2", "web01.qcow2 ", "web01"):
        page = as_manager.post(url(volume, "delete-now"), {"key": uuid.uuid4(), "typed_name": typed})
        assert page.status_code == 422, typed
        assert "id_typed_name_error" in page.content.decode()
    assert not Job.objects.exists()
    page = as_manager.post(url(volume, "delete-now"), {"key": uuid.uuid4(), "typed_name": "web01.qcow2"})
    assert page.status_code == 303
    assert "typed_name" not in Job.objects.get().params


def test_a_name_that_cannot_be_typed_may_be_typed_as_it_is_shown(as_manager, make_volume):
    volume = make_volume("line\nbreak\u202e")
    data = {"key": uuid.uuid4(), "typed_name": printable(volume.name)}
    assert as_manager.post(url(volume, "delete-now"), data).status_code == 303


def test_enter_in_the_name_field_does_not_press_the_red_button(as_manager, volume):
    html = as_manager.get(url(volume, "delete-now")).content.decode()
    form = html[html.index('id="operation-form"') :]
    assert re.search(r"<button[^>]*>", form)[0] == '<button type="submit" disabled hidden>'


def test_what_cannot_be_done_now_says_why_and_offers_no_button(as_manager, volume):
    use(volume)
    page = as_manager.get(url(volume, "delete-now"))
    assert page.status_code == 200
    assert "Off: Used by vm1." in text(page)
    assert re.search(
        r'id="ask"\s+type="button" class="btn btn-plain" aria-disabled="true" aria-describedby="off"',
        page.content.decode(),
    )
    assert 'name="typed_name"' not in page.content.decode()


def test_what_became_impossible_meanwhile_is_a_conflict_with_the_form_as_typed(as_operator, volume):
    volume.pool.state = "inactive"
    volume.pool.save()
    page = as_operator.post(url(volume, "clone"), {"key": uuid.uuid4(), "name": "copy.qcow2"})
    assert page.status_code == 409
    assert "Not started. default is stopped; start it first." in text(page)
    assert 'value="copy.qcow2"' in page.content.decode()
    assert not Job.objects.exists()


def test_an_operation_that_does_not_apply_any_more_is_no_error(as_operator, pool):
    pool.autostart = True
    pool.save()
    assert as_operator.get(pool_url(pool, "autostart-on")).status_code in (200, 404)
    assert as_operator.post(pool_url(pool, "autostart-on"), {"key": uuid.uuid4()}).status_code in (404, 409)


def test_a_volume_that_another_job_has_says_which_job(as_operator, volume, make_job):
    holder = make_job(
        "Clone <b>web01</b>", state=S.RUNNING, writes="web01.qcow2", done_bytes=47, total_bytes=100
    )
    page = as_operator.post(url(volume, "clone"), {"key": uuid.uuid4(), "name": "copy.qcow2"})
    assert page.status_code == 409
    html = page.content.decode()
    assert f'<a href="{holder.get_absolute_url()}">Clone &lt;b&gt;web01&lt;/b&gt;</a>' in html
    said = text(page).replace("\N{NO-BREAK SPACE}", " ")
    assert "asked for by olga, has it since" in said
    assert "47 %" in said
    assert 'value="copy.qcow2"' in html
    assert Job.objects.count() == 1


def test_a_waiting_holder_is_named_too(as_operator, volume, make_job):
    make_job("Delete web01.qcow2", writes="web01.qcow2")
    page = as_operator.post(url(volume, "clone"), {"key": uuid.uuid4(), "name": "copy.qcow2"})
    assert page.status_code == 409
    assert "waits for it since" in text(page)


@pytest.mark.parametrize("method", ["get", "post"])
def test_without_the_right_it_is_refused_and_audited(client, viewer, operator, volume, method):
    client.force_login(viewer)
    response = getattr(client, method)(url(volume, "delete"))
    assert response.status_code == 403
    denied = AuditEvent.objects.get(outcome="denied")
    assert (denied.actor, denied.action, denied.right) == (viewer, "volume.delete", "volume.delete")
    assert denied.object_text == "Delete web01.qcow2"


def test_what_is_hidden_is_not_there(client, outsider, volume):
    client.force_login(outsider)
    assert client.get(url(volume, "delete")).status_code == 404
    assert client.post(url(volume, "delete")).status_code == 404


def test_other_methods_are_refused(as_operator, volume):
    assert as_operator.delete(url(volume, "delete")).status_code == 405


def test_a_one_click_button_gets_nothing_so_that_the_page_stays(as_operator, pool, htmx):
    response = as_operator.post(pool_url(pool, "refresh"), {"key": uuid.uuid4()}, headers=htmx)
    assert response.status_code == 204
    assert Job.objects.get().operation == "pool.refresh"


@pytest.mark.parametrize(
    ("state", "who", "status"), [("inactive", "operator", 409), ("running", "viewer", 403)]
)
def test_a_refused_one_click_button_shows_the_answer_as_the_page(
    client, request, pool, htmx, state, who, status
):
    pool.state = state
    pool.save()
    client.force_login(request.getfixturevalue(who))
    response = client.post(pool_url(pool, "refresh"), {"key": uuid.uuid4()}, headers=htmx)
    assert response.status_code == status
    assert response["HX-Retarget"] == response["HX-Reselect"] == "#main"
    assert 'id="main"' in response.content.decode()


def test_without_javascript_a_one_click_operation_is_a_page_with_one_button(as_operator, pool):
    page = as_operator.get(pool_url(pool, "refresh"))
    form = page.content.decode().split('id="operation-form"')[1].split("</form>")[0]
    assert len(re.findall("<button", form)) == 1
    assert as_operator.post(pool_url(pool, "refresh"), {"key": key_in(page)}).status_code == 303


def test_try_again_brings_what_was_asked_before(as_operator, pool, make_job):
    params = {"name": "data01", "capacity": 20 * 1024**3, "format": "qcow2", "space": "full"}
    job = make_job(operation="volume.create", state=S.FAILED, params=params)
    html = as_operator.get(reverse("volumes:create", args=[pool.pk]), {"again": job.pk}).content.decode()
    for value in ('value="data01"', 'value="20 GiB"', '<option value="full" selected>'):
        assert value in html


@pytest.mark.parametrize("again", ["", "x", "-1", "9" * 40, "0x1", "²", "999999"])
def test_a_senseless_again_is_ignored(as_operator, pool, again):
    assert as_operator.get(reverse("volumes:create", args=[pool.pk]), {"again": again}).status_code == 200


def test_again_does_not_show_jobs_of_hidden_pools(client, make_user, pool, make_pool, make_job):
    hidden = make_pool("hidden")
    job = make_job(operation="volume.create", of=hidden, state=S.FAILED, params={"name": "secret-name"})
    client.force_login(make_user("paul", "operator", pool_uuid=pool.uuid))
    page = client.get(reverse("volumes:create", args=[pool.pk]), {"again": job.pk})
    assert page.status_code == 200
    assert "secret-name" not in page.content.decode()


def test_hostile_names_are_only_text(as_operator, make_volume):
    volume = make_volume('<img src=x onerror=alert(1)>"\u202e')
    for slug in ("clone", "delete"):
        html = as_operator.get(url(volume, slug)).content.decode()
        assert "<img" not in html
        assert "\u202e" not in html.split("virsh-line")[0]


def test_locks_are_taken(as_operator, volume):
    as_operator.post(url(volume, "clone"), {"key": uuid.uuid4(), "name": "copy.qcow2"})
    locks = {(lock.volume_name, lock.is_write) for lock in JobLock.objects.all()}
    assert locks == {("web01.qcow2", False), ("copy.qcow2", True)}


def test_another_wish_in_a_form_that_was_used_is_not_taken_for_the_first(as_operator, pool):
    """The back button, another name, and "create" again: it must not say that this was done."""
    page, wish = reverse("volumes:create", args=[pool.pk]), {"key": uuid.uuid4(), "format": "raw"}
    wish |= {"capacity": "1 GiB", "space": "sparse"}
    as_operator.post(page, wish | {"name": "one.img"})
    other = as_operator.post(page, wish | {"name": "two.img"})
    assert other.status_code == 422
    assert 'value="two.img"' in other.content.decode()
    as_operator.post(page, wish | {"name": "two.img", "key": key_in(other)})
    assert set(Job.objects.values_list("volume_name", flat=True)) == {"one.img", "two.img"}
