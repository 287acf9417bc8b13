"""The real settings with a data directory and a database file of the run's own."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

directory = Path(tempfile.mkdtemp(prefix="storagemgr-tests-"))
atexit.register(shutil.rmtree, directory, ignore_errors=True)
(directory / "static").mkdir()
os.environ["STORAGEMGR_DATA"] = str(directory)
os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "0" * 50)
# Sessions by force_login proved nothing. Tests of re-authentication turn it on.
os.environ.setdefault("REAUTHENTICATE_AFTER", "0")

from storagemgr.settings import *  # noqa: E402, F403
from storagemgr.settings import DATABASES, STORAGES  # noqa: E402

# A file, not memory: worker processes that a test starts use the same database.
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["TEST"] = {"NAME": str(directory / "test.sqlite3")}
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
PASSWORD_HASHERS = ["quick_passwords.QuickArgon2"]
