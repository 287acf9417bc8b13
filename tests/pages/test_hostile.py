"""Names and addresses that mean harm."""

import pytest
from django.urls import reverse

from storagemgr.templatetags.storage import printable

pytestmark = pytest.mark.django_db
NAMES = [
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "' autofocus onfocus=alert(1) x='",
    "{{7*7}}{% now 'Y' %}",
    "two\nlines\r\tand\x07bell",
    "exe.\u202egnp.img",
    "javascript:alert(1)",
    "../../etc/passwd",
    "x" * 255,
    "שלום עולם",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
]


def urls(volume):
    pool = volume.pool
    return [
        reverse("pools:fleet"),
        reverse("pools:pool", args=[pool.pk]),
        reverse("volumes:of_pool", args=[pool.pk]),
        reverse("volumes:all"),
        reverse("volumes:volume", args=[volume.pk]),
        reverse("hosts:host", args=[pool.host_id]),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text(see, administrator, make_pool, make_volume, make_job, lock, use, name):
    pool = make_pool(name, source=name, target_path=name, xml=name.replace("\n", " "), refresh_error=name)
    volume = make_volume(name, pool=pool, backing_path=name)
    use(volume, name, target=name[:64])
    lock(make_job(pool, title=name, volume_name=name), name, is_write=True)
    make_job(pool, title=name, state="failed", volume_name=name)
    for url in urls(volume):
        page = see(administrator, url)
        assert page.status_code == 200
        text = page.content.decode()
        for raw in ("<img src=x", "<script>alert", "\u202e", "\x00", "' autofocus", "two\nlines"):
            assert raw not in text, (url, raw)
        if "{{" in name:
            assert "{{7*7}}" in text
        assert 'href="javascript:' not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_search_for_it_finds_it(see, viewer, make_pool, make_volume, name):
    make_volume(name, pool=make_pool(name))
    page = see(viewer, reverse("volumes:all") + "?" + QueryString(q=name))
    assert page.status_code == 200
    if "\x00" not in name and len(name) <= 200:
        assert [row.volume.name for row in page.context["rows"]] == [name]
        assert printable(name).replace("'", "&#x27;").split("<")[0] in page.content.decode()


def QueryString(**values):
    from urllib.parse import urlencode

    return urlencode(values)


VALUES = [
    "",
    "0",
    "-1",
    "1e9",
    "9" * 30,
    "nan",
    "name;drop",
    "-",
    "--name",
    "%00",
    "é",
    "a" * 5000,
    "[]",
    "../",
]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("parameter", ["sort", "page", "state", "host", "type", "format", "q"])
def test_values_that_make_no_sense_are_ignored(see, viewer, volume, parameter, value):
    for url in (
        reverse("pools:fleet"),
        reverse("volumes:all"),
        reverse("volumes:of_pool", args=[volume.pool.pk]),
    ):
        for query in (f"{parameter}={value}", f"{parameter}={value}&{parameter}=x&sort=-name&page=2"):
            page = see(viewer, f"{url}?{query}")
            assert page.status_code == 200, (url, query)
            assert "rows" in page.context


@pytest.mark.parametrize("pk", ["0", "999999", "9" * 40])
@pytest.mark.parametrize(
    "path", ["/pools/{}/", "/pools/{}/volumes/", "/pools/{}/start/", "/volumes/{}/", "/hosts/{}/"]
)
def test_ids_of_nothing(see, administrator, host, path, pk):
    assert see(administrator, path.format(pk)).status_code == 404


@pytest.mark.parametrize(
    "parameter", ["/?host", "/?type", "/volumes/?format", "/jobs/?operation", "/jobs/?pool", "/jobs/?rows"]
)
def test_a_thousand_values(see, viewer, volume, parameter):
    path, name = parameter.split("?")
    query = "&".join(f"{name}=x{number}" for number in range(999))
    assert see(viewer, f"{path}?{query}").status_code == 200
    assert see(viewer, f"{path}?{query}&a=1&b=2").status_code == 400


@pytest.mark.parametrize("address", ["http://[", "//", "\\\\evil", "javascript:alert(1)", "x" * 5000])
def test_a_forged_address_of_the_page(see, viewer, volume, address):
    page = see(viewer, reverse("jobs:strip"), poll=True, **{"HX-Current-URL": address})
    assert page.status_code == 200
