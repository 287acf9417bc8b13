import pytest
from django.core.cache import cache

PASSWORD = "a-fine-long-password"


@pytest.fixture(autouse=True)
def quickly(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()


@pytest.fixture
def with_password():
    def give(user):
        user.set_password(PASSWORD)
        user.save()
        return user

    return give


@pytest.fixture
def sign_in():
    def sign_in(client, name, password=PASSWORD, **more):
        return client.post("/accounts/login/", {"login": name, "password": password}, **more)

    return sign_in


@pytest.fixture
def ada(client, administrator, with_password, sign_in):
    """An administrator who signed in with her password."""
    with_password(administrator)
    assert sign_in(client, "ada").status_code == 302
    return client
