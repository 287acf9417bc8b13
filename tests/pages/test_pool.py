from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from storagemgr.hosts.embedded import EXAMPLES

pytestmark = pytest.mark.django_db
GIB = 1024**3


def text_of(response):
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def buttons(response):
    return {button.operation.name: button for button in response.context["buttons"]}


def test_the_facts_of_a_pool(see, viewer, make_pool):
    pool = make_pool("nas", type="netfs", source="nas1:/export", xml="<pool type='netfs'/>", autostart=True)
    text = text_of(see(viewer, f"/pools/{pool.pk}/"))
    for fact in (
        "NFS export",
        "nas1:/export",
        "/srv/nas",
        str(pool.uuid),
        "&lt;pool type=",
        "40 % of 100 GiB",
    ):
        assert fact in text


def test_what_an_operator_may_do_now(see, operator, pool):
    found = buttons(see(operator, f"/pools/{pool.pk}/"))
    assert found["pool.start"].off == "It is running already."
    assert found["pool.refresh"].off == ""
    assert found["pool.refresh"].key
    assert found["pool.stop"].key is None, "stopping asks first"
    assert "pool.autostart_off" not in found
    assert "volume.create" not in found


def test_an_off_button_can_be_reached_and_says_why(see, operator, pool):
    text = text_of(see(operator, f"/pools/{pool.pk}/"))
    assert (
        '<button type="button" class="btn btn-plain btn-sm" aria-disabled="true" aria-describedby="why-start">'
        in text
    )
    assert '<span id="why-start">Off: It is running already.</span>' in text


def test_a_viewer_reads_who_could(see, viewer, operator, pool):
    found = buttons(see(viewer, f"/pools/{pool.pk}/"))
    assert all(button.is_locked for button in found.values())
    assert found["pool.stop"].off == "You are Viewer here. These can: olga (Operator)."
    page = see(viewer, f"/pools/{pool.pk}/")
    text = text_of(page)
    assert '<span id="why-locked">You are Viewer here. These can: olga (Operator).</span>' in text
    of_operators = [button for button in found.values() if "olga (Operator)" in button.off]
    assert text.count('aria-describedby="why-locked"') == len(of_operators) > 1
    assert '<span id="why-locked1">You are Viewer here. Nobody has a role for it here;' in text
    assert text.count('aria-describedby="why-locked1"') == len(found) - len(of_operators) > 1
    assert "hx-post" not in page.content.decode().split('<aside id="jobs-strip"')[0]
    assert page.context["create"].is_locked


def test_it_is_said_where_the_file_goes(see, pool, operator, settings):
    settings.IMPORT_URLS = ["https://images.example/"]
    for slug, said in (("upload", "Upload into default"), ("import", "Import from a URL into default")):
        page = see(operator, f"/pools/{pool.pk}/volumes/{slug}/").content.decode()
        assert f"<h1>{said}</h1>" in page


def test_the_key_of_a_button_changes_with_the_next_job_and_the_person(see, operator, manager, pool, make_job):
    def key(user):
        return buttons(see(user, f"/pools/{pool.pk}/"))["pool.refresh"].key

    first = key(operator)
    assert key(operator) == first
    assert key(manager) != first
    make_job(pool, state="succeeded")
    assert key(operator) != first


def test_what_runs_and_what_was_done(see, viewer, pool, make_job):
    running = make_job(pool, done_bytes=2 * GIB, total_bytes=8 * GIB)
    waiting = make_job(pool, "pool.refresh", title="Refresh default", state="queued")
    done = make_job(pool, title="Create old.img", state="succeeded", finished_at=timezone.now())
    page = see(viewer, f"/pools/{pool.pk}/")
    text = text_of(page)
    assert "2 GiB of 8 GiB" in text
    assert f'<a href="/jobs/{waiting.pk}/">Refresh default</a> <span class="muted">waits</span>' in text
    assert [entry.url for entry in page.context["timeline"]] == [done.get_absolute_url()]
    assert running in page.context["row"].jobs


def test_jobs_of_other_pools_are_not_shown(see, viewer, pool, make_pool, make_job):
    make_job(make_pool("other"), title="Elsewhere")
    assert "Elsewhere" not in text_of(see(viewer, f"/pools/{pool.pk}/")).split('<aside id="jobs-strip"')[0]


def test_which_vms_use_it(see, viewer, volume, make_volume, use):
    use(volume, "web01")
    use(make_volume("data.img"), "web01")
    use(make_volume("other.img"), "db01", running=False)
    page = see(viewer, f"/pools/{volume.pool.pk}/")
    assert [(vm["name"], vm["running"], vm["volumes"]) for vm in page.context["vms"]] == [
        ("db01", False, 1),
        ("web01", True, 2),
    ]


@pytest.mark.parametrize(
    ("host_fields", "pool_fields", "words"),
    [
        ({"state": "silent"}, {}, "has not answered since"),
        ({"state": "unknown"}, {}, "has not been read yet"),
        ({}, {"unreachable_since": timezone.now()}, "This pool has not answered since"),
        ({}, {"refresh_error": "exit status 32", "state": "inactive"}, "and so libvirt stopped the pool"),
        ({}, {"volumes_error": "too_many_volumes"}, "The list of volumes could not be read"),
    ],
)
def test_banners(see, viewer, make_host, make_pool, host_fields, pool_fields, words):
    pool = make_pool(host=make_host(**host_fields), **pool_fields)
    for page in (f"/pools/{pool.pk}/", f"/pools/{pool.pk}/volumes/"):
        assert words in text_of(see(viewer, page))


def test_old_figures_carry_their_time(see, viewer, make_host, make_pool):
    then = timezone.now() - timedelta(days=40)
    pool = make_pool(host=make_host(state="silent"), seen_at=then)
    assert f"As of {then.day} {then:%b}" in text_of(see(viewer, f"/pools/{pool.pk}/"))


def test_operations_that_are_none(see, administrator, pool):
    for slug in ("nonsense", "create", "clone", "autostart_on", "start/"):
        assert see(administrator, f"/pools/{pool.pk}/{slug}/").status_code == 404


def test_queries_do_not_grow(see, operator, pool, make_volume, use, make_job, count_queries):
    def grow(number):
        for index in range(number):
            use(make_volume(f"v{number}-{index}"), f"vm{number}-{index}")
            make_job(pool, state="succeeded")

    grow(2)
    few = count_queries(lambda: see(operator, f"/pools/{pool.pk}/", poll=True))
    grow(20)
    assert count_queries(lambda: see(operator, f"/pools/{pool.pk}/", poll=True)) == few


@pytest.fixture
def examples(host, make_pool):
    host.is_embedded = True
    host.save()
    return make_pool(EXAMPLES, host=host, target_path=str(settings.DATA_DIR / "examples"))


def test_the_examples_go_at_a_click_while_nothing_needs_them(
    see, administrator, examples, make_pool, make_volume, use
):
    def off():
        return buttons(see(administrator, f"/pools/{examples.pk}/"))["pool.remove_examples"].off

    volume = make_volume("example.qcow2", pool=examples)
    make_volume("overlay.qcow2", pool=examples, backing_path=volume.path)
    assert off() == ""
    overlay = make_volume("mine.qcow2", pool=make_pool("mine"), backing_path=volume.path)
    assert "built on a volume here" in off()
    overlay.delete()
    use(volume, "web01", running=False)
    assert "web01 has a disk here" in off()


def test_a_pool_that_only_has_the_name_of_the_examples_is_not_removed(see, administrator, examples):
    examples.target_path = "/srv/of-somebody"
    examples.save()
    assert "pool.remove_examples" not in buttons(see(administrator, f"/pools/{examples.pk}/"))
