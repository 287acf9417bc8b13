import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import escape

from storagemgr.jobs.models import Job
from storagemgr.jobs.words import ShownJob
from storagemgr.messages import MESSAGES, message
from storagemgr.virt.errors import CODES

FORBIDDEN = ("please", "successfully", "!", "asynchronous jobs")


def test_every_code_of_libvirt_has_words():
    assert CODES - MESSAGES.keys() == set()


def test_no_words_are_orphaned():
    folders = [Path(settings.BASE_DIR, name) for name in ("storagemgr", "pools", "volumes")]
    files = [path for folder in folders for path in folder.rglob("*.py") if path.parent.name != "messages"]
    used = set(re.findall(r'"([a-z_]+)"', "\n".join(path.read_text() for path in files)))
    assert MESSAGES.keys() - CODES - used == set()


@pytest.mark.parametrize("code", sorted(MESSAGES))
def test_message_is_whole_sentences_and_is_shown(code):
    said = MESSAGES[code]
    for sentence in filter(None, (said.title, said.hint, said.left)):
        assert sentence.endswith(".")
        assert not any(word in sentence.lower() for word in FORBIDDEN)
    failed = {"state": Job.State.FAILED, "created_at": timezone.now()}
    row = ShownJob(Job(pk=1, error_code=code, error_text="words of the host", **failed))
    page = render_to_string("jobs/_progress.html", {"row": row, "job": row.job})
    for sentence in filter(None, (said.title, said.hint, said.left)):
        assert escape(sentence) in page
    assert "words of the host" in page


def test_an_unknown_code_is_owned_up_to():
    said = message("from_the_future")
    assert "from_the_future" in said.title
    assert said.hint
