"""What the pages of jobs do by themselves in a browser. No worker runs: the rows change under the open page."""

from collections.abc import Iterator

import pytest
from browsing import Browsing, breaches, is_reloaded
from django.utils import timezone
from playwright.sync_api import Page, expect

from storagemgr.access.models import Grant
from storagemgr.jobs.models import Job

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
S = Job.State


@pytest.fixture
def page(chromium, live_server, operator) -> Iterator[Page]:
    browsing = Browsing(chromium, live_server.url)
    page = browsing.as_(operator)
    yield page
    assert not breaches(page)
    browsing.close()


def end(job, state=S.SUCCEEDED, **fields):
    Job.objects.filter(pk=job.pk).update(state=state, finished_at=timezone.now(), **fields)


def test_an_open_page_follows_its_job_to_the_end_and_rests(page, make_job, make_volume):
    clone = {"operation": "volume.clone", "params": {"name": "copy.qcow2", "source": "web01.qcow2"}}
    job = make_job("Clone web01", state=S.RUNNING, done_bytes=10, total_bytes=100, **clone)
    page.goto(job.get_absolute_url())
    born = page.evaluate("window.bornAt")
    expect(page.locator("main")).to_contain_text("10 % copied")
    Job.objects.update(done_bytes=47)
    expect(page.locator("main")).to_contain_text("47 % copied", timeout=4000)
    page.locator("#log-lines").focus()
    make_volume("copy.qcow2")
    end(job)
    expect(page.get_by_role("link", name="Open copy.qcow2")).to_be_visible(timeout=4000)
    assert page.evaluate("document.activeElement.id") == "log-lines"
    polls = []
    page.on("request", lambda request: polls.append(request.url))
    page.wait_for_timeout(4500)
    assert not [url for url in polls if job.get_absolute_url() in url]
    assert [url for url in polls if "/jobs/strip/" in url]
    assert not is_reloaded(page, born)


def test_the_end_is_told_once(page, make_job, make_user):
    job = make_job("Clone web01", state=S.RUNNING)
    page.goto("/jobs/")
    page.evaluate(
        "window.said = []; new MutationObserver(() => said.push(document.querySelector('#announce').textContent))"
        ".observe(document.querySelector('#announce'), {childList: true})"
    )
    end(job)
    expect(page.locator(".sm-toast")).to_contain_text("Done: Clone web01, in", timeout=4000)
    page.wait_for_timeout(4500)
    assert page.evaluate("window.said") == ["Done: Clone web01."]


def test_a_failure_stays_until_it_is_closed(page, make_job):
    job = make_job("Clone web01", state=S.FAILED, error_code="no_space")
    page.goto("/jobs/")
    page.wait_for_timeout(2500)
    expect(page.locator(".sm-toast")).to_contain_text("There is no space left.")
    page.get_by_role("button", name="Close the notice about Clone web01").click()
    expect(page.locator(".sm-toast")).to_have_count(0, timeout=4000)
    job.refresh_from_db()
    assert job.acknowledged_at


def test_the_page_of_a_failure_has_its_own_button(page, make_job):
    job = make_job("Clone web01", state=S.RUNNING)
    page.goto(job.get_absolute_url())
    end(job, S.FAILED, error_code="no_space")
    page.get_by_role("button", name="Seen").click(timeout=4000)
    expect(page.locator("#seen")).to_have_count(0)
    expect(page.locator(".sm-toast")).to_have_count(0)
    assert Job.objects.get().acknowledged_at


def test_the_drawer_stays_open_while_it_changes(page, make_job):
    job = make_job("Clone web01", state=S.RUNNING, done_bytes=10, total_bytes=100)
    page.goto("/jobs/")
    page.locator("#jobs-drawer > summary").click()
    row = page.locator(f"#strip-{job.pk}")
    expect(row).to_contain_text("10 %")
    row.get_by_role("link").focus()
    Job.objects.update(done_bytes=60)
    make_job("Stop default", is_exclusive=True)
    expect(row).to_contain_text("60 %", timeout=4000)
    expect(page.locator("#jobs-drawer")).to_contain_text("second, behind")
    assert page.evaluate("document.activeElement.textContent") == "Clone web01"
    end(job)
    expect(row).to_have_count(0, timeout=4000)
    assert page.locator("#jobs-drawer").get_attribute("open") is not None


def test_a_waiting_job_is_cancelled_in_place(page, make_job):
    job = make_job("Stop default")
    page.goto(job.get_absolute_url())
    born = page.evaluate("window.bornAt")
    page.wait_for_timeout(2500)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("main")).to_contain_text("Cancelled before it began.", timeout=4000)
    assert not is_reloaded(page, born)


def test_a_cancel_that_comes_too_late_says_so(page, make_job):
    job = make_job("Stop default")
    page.goto(job.get_absolute_url())
    page.evaluate("for (let i = 0; i < 9999; i++) clearInterval(i)")
    Job.objects.update(state=S.RUNNING, started_at=timezone.now())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#refused")).to_contain_text("It began already.")
    expect(page.locator("#refused")).to_be_focused()
    assert page.locator("main").count() == 1


def test_a_one_click_button_works_in_place(page, pool, make_job):
    page.goto(pool.get_absolute_url())
    born = page.evaluate("window.bornAt")
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#jobs-strip summary")).to_contain_text("1 waiting", timeout=4000)
    assert not is_reloaded(page, born)
    assert page.url.endswith(pool.get_absolute_url())


def test_a_one_click_button_that_is_refused_shows_why(page, pool):
    page.goto(pool.get_absolute_url())
    page.evaluate("for (let i = 0; i < 9999; i++) clearInterval(i)")
    type(pool).objects.update(state="inactive")
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#off")).to_contain_text("Not started. It is stopped; start it first.")
    expect(page.locator("#off")).to_be_focused()
    assert page.locator("main").count() == 1
    assert page.get_by_role("heading", level=1).inner_text() == "Refresh default"
    assert not Job.objects.exists()


def test_errors_have_the_focus_and_lead_to_the_field(page, volume):
    page.goto(f"/volumes/{volume.pk}/clone/")
    page.get_by_label("Name").fill("a b")
    page.get_by_label("Name").press("Enter")
    expect(page.locator("#errors")).to_be_focused()
    expect(page.get_by_label("Name")).to_have_value("a b")
    page.locator("#errors").get_by_role("link", name="Name").click()
    expect(page.get_by_label("Name")).to_be_focused()


def test_enter_in_the_name_field_deletes_nothing(page, operator, volume):
    Grant.objects.create(user=operator, role="manager")
    page.goto(f"/volumes/{volume.pk}/delete-now/")
    field = page.get_by_label("Type the name of the volume")
    field.fill("web01.qcow2")
    field.press("Enter")
    page.wait_for_timeout(500)
    assert page.url.endswith("/delete-now/")
    assert not Job.objects.exists()
    page.get_by_role("button", name="Delete at once: web01.qcow2").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete web01.qcow2")
    assert Job.objects.get().operation == "volume.delete_now"


def test_rows_of_the_list_stay_and_new_jobs_are_announced(page, make_job):
    first = make_job("first", state=S.RUNNING)
    page.goto("/jobs/?state=running")
    make_job("second", state=S.RUNNING)
    end(first)
    expect(page.locator("#newer")).to_contain_text("1 newer job", timeout=4000)
    expect(page.locator("main tbody tr")).to_have_count(1)
    expect(page.locator("main tbody tr")).to_contain_text("Done")
    page.locator("#newer").get_by_role("link", name="Show").click()
    expect(page.locator("main tbody tr")).to_contain_text("second")


def test_without_javascript_the_page_of_a_job_follows_it_to_the_end(
    chromium, live_server, operator, make_job
):
    job = make_job("Refresh default", state=S.RUNNING)
    browsing = Browsing(chromium, live_server.url)
    page = browsing.as_(operator, java_script_enabled=False)
    page.goto(job.get_absolute_url())
    expect(page.locator("noscript meta")).to_have_count(1)
    end(job)
    expect(page.get_by_text("Done", exact=True).first).to_be_visible(timeout=9000)
    expect(page.locator("noscript meta")).to_have_count(0)
    browsing.close()
