"""Who can do what at a place, and why."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from storagemgr.access.models import Grant, Role
from storagemgr.access.who import who_can

pytestmark = pytest.mark.django_db


@pytest.fixture
def held(make_user, make_host, make_pool):
    host, other = make_host("kvm1"), make_host("kvm2")
    pool = make_pool("web", host)
    team = Group.objects.create(name="Web")
    for name in ("tina", "tom"):
        make_user(name).groups.add(team)
    make_user("gone").groups.add(team)
    User.objects.filter(username="gone").update(is_active=False)
    Role.objects.create(name="starter", title="Starter", rights=["pool.view", "pool.start"])
    Grant.objects.create(group=team, role="operator", host=host, pool_uuid=pool.uuid, made_by="ada")
    make_user("vera", "viewer")
    make_user("sam", "starter", host=host, expires_at=timezone.now() + timedelta(days=3))
    make_user("late", "manager", host=host, expires_at=timezone.now() - timedelta(days=3))
    make_user("afar", "manager", host=other)
    User.objects.create_superuser("root")
    return pool


def test_at_a_pool(held):
    found = {able.title: able for able in who_can(held.host_id, held.uuid)}
    assert list(found) == ["Administrator", "Operator", "Starter", "Viewer"]
    [team] = found["Operator"].holders
    assert (team.name, team.why) == ("team Web", "granted on this pool by ada; 2 people")
    [sam] = found["Starter"].holders
    assert sam.why == "granted on this host"
    assert sam.until
    assert found["Starter"].words == ["see the pool and its volumes", "start, and start with the host"]
    assert found["Administrator"].holders[0].name == "root"


def test_on_the_pages(client, held, make_volume, make_user, django_assert_max_num_queries):
    client.force_login(User.objects.get(username="vera"))
    volume = make_volume("disk", held)
    for url in (held.get_absolute_url(), volume.get_absolute_url()):
        page = client.get(url).content.decode()
        assert "team Web: granted on this pool by ada; 2 people" in page
        assert "Who can do what here" not in client.get(url, headers={"HX-Request": "true"}).content.decode()
    page = client.get(held.host.get_absolute_url()).content.decode()
    assert "sam" in page
    assert "team Web" not in page  # of a pool alone
    client.force_login(User.objects.get(username="tina"))
    assert "sam" not in client.get(held.host.get_absolute_url()).content.decode()
    with django_assert_max_num_queries(5):
        who_can(held.host_id, held.uuid)
