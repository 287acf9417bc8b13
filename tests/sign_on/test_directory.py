"""Sign-in against a real slapd on loopback."""

import shutil
import subprocess
import time
import uuid
from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import timezone
from ports import free_port

from storagemgr.access.models import AuditEvent, Grant, Team
from storagemgr.jobs.models import Job

ldap = pytest.importorskip("ldap", reason="the packages of requirements-ldap.txt are not installed")
SLAPD = shutil.which("slapd") or "/usr/sbin/slapd"
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not shutil.which(SLAPD), reason="there is no slapd on this machine"),
]
BASE = "dc=example,dc=org"
CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {directory}/pid
database mdb
suffix {base}
rootdn cn=root,{base}
rootpw secret
directory {directory}/data
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""
PEOPLE = """
dn: {base}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: uid=wendy,{base}
objectClass: inetOrgPerson
uid: wendy
cn: Wendy
givenName: Wendy
sn: Example
mail: wendy@example.org
userPassword: from-the-directory

dn: uid=ada,{base}
objectClass: inetOrgPerson
uid: ada
cn: Ada
sn: Other
userPassword: from-the-directory

dn: cn=web,{base}
objectClass: groupOfNames
cn: web
member: uid=wendy,{base}

dn: cn=storage,{base}
objectClass: groupOfNames
cn: storage
member: uid=ada,{base}
"""


@pytest.fixture(scope="module")
def slapd(tmp_path_factory):
    directory = tmp_path_factory.mktemp("slapd")
    (directory / "data").mkdir()
    configuration, url = directory / "slapd.conf", f"ldap://127.0.0.1:{free_port()}"
    configuration.write_text(CONFIGURATION.format(directory=directory, base=BASE))
    add = [shutil.which("slapadd") or "/usr/sbin/slapadd", "-f", configuration]
    subprocess.run(add, input=PEOPLE.format(base=BASE), text=True, check=True)
    process = subprocess.Popen([SLAPD, "-f", configuration, "-h", url, "-d", "0"])
    for _ in range(100):
        try:
            ldap.initialize(url).simple_bind_s()
            break
        except ldap.SERVER_DOWN:
            time.sleep(0.05)
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture
def root(slapd):
    connection = ldap.initialize(slapd)
    connection.simple_bind_s(f"cn=root,{BASE}", "secret")
    return connection


@pytest.fixture(autouse=True)
def directory(slapd, settings):
    settings.LDAP_URL, settings.LDAP_START_TLS = slapd, False
    settings.LDAP_USER_BASE = settings.LDAP_GROUP_BASE = BASE
    settings.AUTHENTICATION_BACKENDS = [
        *settings.AUTHENTICATION_BACKENDS,
        "storagemgr.access.directory.DirectoryBackend",
    ]


@pytest.fixture
def wendy(client, sign_in):
    """Her browser, where she typed this password."""

    def come(password="from-the-directory", name="wendy"):
        client.logout()
        return sign_in(client, name, password).status_code == 302

    return come


def teams_of(name):
    return [group.name for group in User.objects.get(username=name).groups.order_by("name")]


def test_a_person_of_the_directory_signs_in_and_their_groups_make_teams(client, wendy, root):
    for name, outside in (("Web", "web"), ("Storage", f"cn=storage,{BASE}"), ("Local", "")):
        Team.objects.create(group=Group.objects.create(name=name), outside_name=outside)
    assert wendy()
    user = User.objects.get()
    assert (user.get_full_name(), user.email, user.has_usable_password()) == (
        "Wendy Example",
        "wendy@example.org",
        False,
    )
    assert teams_of("wendy") == ["Web"]
    assert client.get("/jobs/").status_code == 200
    root.modify_s(f"cn=storage,{BASE}", [(ldap.MOD_ADD, "member", [f"uid=wendy,{BASE}".encode()])])
    root.modify_s(f"cn=web,{BASE}", [(ldap.MOD_REPLACE, "member", [f"uid=ada,{BASE}".encode()])])
    assert wendy()
    assert teams_of("wendy") == ["Storage"]
    assert AuditEvent.objects.filter(action__in=["team.join", "team.leave"]).count() == 3


def test_a_wrong_an_empty_and_a_made_up_name_do_not(wendy):
    assert not wendy("wrong")
    assert not wendy("")
    assert not wendy(name="*")
    assert not wendy(name="wendy)(uid=*")
    assert not User.objects.exists()


def test_an_account_with_a_password_here_is_not_the_directorys(wendy, administrator, with_password):
    with_password(administrator)
    assert not wendy(name="ada")
    assert wendy("a-fine-long-password", "ada")


def test_who_is_switched_off_stays_out_and_is_out(client, wendy):
    assert wendy()
    User.objects.update(is_active=False)
    assert client.get("/jobs/").status_code == 302
    assert not wendy()


def test_a_directory_that_is_down_lets_local_people_in(wendy, administrator, with_password, settings):
    settings.LDAP_URL = "ldap://127.0.0.1:1"
    with_password(administrator)
    assert not wendy()
    assert wendy("a-fine-long-password", "ada")


def test_strangers_stay_out_where_accounts_are_made_by_hand(wendy, settings, make_user):
    settings.LDAP_CREATE = False
    assert not wendy()
    make_user("wendy")
    assert wendy()


def test_they_prove_who_they_are_with_the_directorys_password(client, wendy, volume, settings):
    settings.REAUTHENTICATE_AFTER = 300
    assert wendy()
    Grant.objects.create(user=User.objects.get(), role="administrator")
    with time_machine.travel(timezone.now() + timedelta(minutes=6), tick=False):
        url = reverse("volumes:operate", args=[volume.pk, "delete-now"])
        asked = client.post(url, {"key": uuid.uuid4(), "typed_name": volume.name})
        assert asked.url.startswith("/accounts/reauthenticate/")
        wanted = client.get(asked.url).context["redirect_field_value"]
        for password, jobs in (("wrong", 0), ("from-the-directory", 1)):
            on = client.post("/accounts/reauthenticate/", {"password": password, "next": wanted})
            if on.status_code == 302:
                client.get(on.url)
            assert Job.objects.count() == jobs
