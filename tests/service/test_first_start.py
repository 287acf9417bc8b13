from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from storagemgr import first_start


@pytest.mark.django_db
def test_the_link_is_offered_until_an_administrator_has_a_password(client: Client) -> None:
    path = first_start.first_administrator_path()
    assert path
    assert client.get(path, follow=True).status_code == 200
    admin = User.objects.get()
    assert (admin.username, admin.is_superuser, admin.has_usable_password()) == ("admin", True, False)

    assert first_start.first_administrator_path()
    assert User.objects.count() == 1
    admin.set_password("correct horse battery")
    admin.save()
    assert first_start.first_administrator_path() is None


@pytest.mark.django_db
def test_an_administrator_who_may_not_sign_in_does_not_count() -> None:
    User.objects.create_superuser("admin", password="correct horse battery", is_active=False)
    assert first_start.first_administrator_path()
    [new] = User.objects.filter(is_active=True, is_superuser=True)
    assert new.username.startswith("admin-")


def test_static_files_are_collected_when_one_has_changed(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "root"
    source.mkdir()
    (source / "a.css").write_text("a {}")
    with override_settings(STATICFILES_DIRS=[source], STATIC_ROOT=root):
        first_start.collect_static()
        assert (root / "a.css").read_text() == "a {}"
        (root / "a.css").unlink()
        first_start.collect_static()
        assert not (root / "a.css").exists()
        (source / "a.css").write_text("a { color: red }")
        first_start.collect_static()
        assert (root / "a.css").read_text() == "a { color: red }"


def test_the_ssh_key_is_made_once(tmp_path: Path) -> None:
    with override_settings(DATA_DIR=tmp_path):
        assert first_start.make_ssh_key() == ""
        made = (tmp_path / "ssh" / "id_ed25519.pub").read_text()
        assert first_start.make_ssh_key() == ""
        assert (tmp_path / "ssh" / "id_ed25519.pub").read_text() == made


def test_a_machine_without_ssh_starts_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with override_settings(DATA_DIR=tmp_path):
        assert "cannot be reached over SSH" in first_start.make_ssh_key()
