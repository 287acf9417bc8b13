import os
import subprocess
import sys

from django.conf import settings

CODE = """
import django, logging
django.setup()
from django.core.exceptions import PermissionDenied
log = logging.getLogger("django.request")
for status in (403, 500):
    try:
        raise PermissionDenied("no")
    except PermissionDenied as error:
        log.warning("Said: %s", "/x/", exc_info=error, extra={"status_code": status})
"""


def test_a_refusal_is_one_line_and_a_fault_has_its_traceback():
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "storagemgr.settings", "DEBUG": "off"}
    command = [sys.executable, "-c", CODE]
    run = subprocess.run(
        command, env=environment, cwd=settings.BASE_DIR, check=True, capture_output=True, text=True
    )
    refused, fault = run.stderr.split("\n", 1)
    assert refused == "WARNING django.request: Said: /x/"
    assert fault.startswith("WARNING django.request: Said: /x/\nTraceback")
