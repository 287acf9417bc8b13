"""What people read when something went wrong: one table from the code of an error to words.

The codes are those of storagemgr.virt.errors and our own. libvirt's own text is shown beside these words, never
in their place.
"""

from storagemgr.messages.base import Message as Message
from storagemgr.messages.of_hosts import OF_HOSTS
from storagemgr.messages.of_ours import OF_OURS
from storagemgr.messages.of_storage import OF_STORAGE

MESSAGES = OF_HOSTS | OF_STORAGE | OF_OURS


def message(code: str) -> Message:
    return MESSAGES.get(code) or Message(
        f"It failed with the code “{code}”, which this program has no words for.",
        "Look at the log below, and at the pool before you ask again.",
    )
