"""Rows for every page of the program, with as much on them as fits, and browsers of people who see them."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from access.test_urls import ARGUMENTS
from access.test_urls import things as things_of_the_table
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.mfa.webauthn.internal.auth import WebAuthn
from browsing import Browsing
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import User
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData
from playwright.sync_api import Browser

from storagemgr.jobs.models import Job
from volumes import images
from volumes.models import DiskUse, Volume

KEY = ARGUMENTS["mfa_edit_webauthn"]["pk"]
PASSWORD = "correct horse 42"
XML = """<volume type='file'>
  <name>web01.qcow2</name>
  <target>
    <path>/srv/default/web01.qcow2</path>
    <permissions><mode>0640</mode><label>system_u:object_r:svirt_image_t:s0:c100,c200</label></permissions>
    <timestamps><mtime>1700000001.0</mtime><btime>1690000000.0</btime></timestamps>
    <features><lazy_refcounts/></features>
  </target>
</volume>"""

things = things_of_the_table


@pytest.fixture(autouse=True)
def _quickly(settings: Any) -> None:
    settings.MAIL_IS_SET = True
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def volume(make_pool: Callable[..., Any], pool: Any, make_volume: Callable[..., Volume]) -> Volume:
    """In the middle of a chain, in use, seen twice, in quarantine, and read."""
    there = make_pool("templates")
    base = make_volume("base-" + "long-name-" * 8 + ".qcow2", pool=there, backing_path="/gone/lowest.qcow2")
    volume = make_volume(
        pool=pool, backing_path=base.path, identity="one", mode="0640", owner=64055, group=64055
    )
    make_volume("twin.qcow2", pool=there, identity="one")
    for number in range(4):
        child = make_volume(f"overlay-{number}.qcow2", pool=pool, backing_path=volume.path)
        make_volume(f"tip-{number}.qcow2", pool=there, backing_path=child.path)
        _use(child, f"vm-{number}")
    _use(volume, "web01", path=volume.path)
    why = "It is built on another file, /etc/" + "shadow-" * 20 + ", which would be opened."
    images.quarantine(volume, [why])
    job = _job(pool, "volume.read_xml", "succeeded", volume_name=volume.name)
    job.log(XML)
    return volume


def _use(volume: Volume, vm: str, **fields: str) -> None:
    where = {"volume": volume, "host": volume.pool.host, "domain_uuid": uuid.uuid4(), "domain_name": vm}
    DiskUse.objects.create(running=True, target="vda", device="disk", kind="disk", **where | fields)


@pytest.fixture
def make_job() -> Callable[..., Job]:
    return _job


def _job(pool: Any, operation: str, state: str, **fields: Any) -> Job:
    about = {"host": pool.host, "pool_uuid": pool.uuid, "pool_name": pool.name, "requester_name": "ada"}
    words = {"operation": operation, "title": f"{operation} of {pool.name}", "state": state}
    return Job.objects.create(**about | words | fields)


@pytest.fixture
def ada(make_user: Callable[..., User]) -> User:
    """An administrator with a password, an app, a security key and recovery codes."""
    user = make_user("ada", "administrator")
    user.set_password(PASSWORD)
    user.save()
    key = WebAuthn.add(user, "Key on the desk", _credential()).instance
    Authenticator.objects.filter(id=key.pk).update(id=KEY)
    TOTP.activate(user, "A" * 32)
    RecoveryCodes.activate(user)
    return user


def _credential() -> dict[str, Any]:
    """What a browser sends when a security key is added."""
    public = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    known = AttestedCredentialData.create(bytes(16), b"1", public)
    made = AuthenticatorData.create(bytes(32), AuthenticatorData.FLAG.AT, 0, known)
    answer = {"clientDataJSON": websafe_encode(b'{"type":"webauthn.create","challenge":"","origin":"x"}')}
    answer["attestationObject"] = websafe_encode(AttestationObject.create("none", made, {}))
    return {"id": "MQ", "rawId": "MQ", "type": "public-key", "response": answer}


@pytest.fixture
def bare(make_user: Callable[..., User]) -> User:
    """One who has neither a password nor anything else to prove who he is."""
    return make_user("bert", "administrator")


@pytest.fixture
def browsing(chromium: Browser, live_server: Any) -> Iterator[Browsing]:
    browsing = Browsing(chromium, live_server.url)
    yield browsing
    browsing.close()
