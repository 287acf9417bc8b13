"""The operations of an object as its page offers them: a button, or the reason why there is none."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db.models import Max
from django.urls import reverse
from django.utils.crypto import salted_hmac

from storagemgr.access.objects import may, who_may
from storagemgr.access.scopes import Actor
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Danger, Operation, OperationForm, place_of
from storagemgr.jobs.pages import form_url


@dataclass(frozen=True)
class Button:
    """`off`: why it cannot be pressed, "" when it can. `key` is set when one click is enough."""

    operation: Operation
    url: str
    off: str = ""
    is_locked: bool = False
    key: uuid.UUID | None = None


def buttons_of(user: Actor, target: Any, operations: Iterable[Operation], view: str) -> list[Button]:
    """`view`: the URL name of the operation page, which takes the id and the operation's slug.

    What is made in the target has a page of its own: "volumes:create" for a pool.
    """
    place = place_of(target)

    @cache
    def lock(right: str) -> str:
        if may(user, right, place.host_id, place.pool_uuid):
            return ""
        return who_may(user, right, place.host_id, place.pool_uuid)

    @cache
    def latest_job() -> int | None:
        return Job.objects.in_lane(place.host_id, place.pool_uuid).aggregate(latest=Max("pk"))["latest"]

    found = []
    for operation in operations:
        is_own = operation.name.startswith(f"{target._meta.model_name}.")
        url = reverse(view, args=[target.pk, operation.slug]) if is_own else form_url(operation, target)
        if reason := lock(operation.right):
            found.append(Button(operation, url, reason, is_locked=True))
        elif reason := operation.why_off(target):
            found.append(Button(operation, url, reason))
        else:
            key = _key(user, operation, target, latest_job()) if is_one_click(operation) else None
            found.append(Button(operation, url, key=key))
    return found


def is_one_click(operation: Operation) -> bool:
    """Nothing is lost and nothing is to be filled in."""
    return operation.danger is Danger.NONE and operation.form is OperationForm


def _key(user: Actor, operation: Operation, target: Any, latest: int | None) -> uuid.UUID:
    """The idempotency key of a one-click button.

    Made of what is known and not of chance, so that an unchanged page is the same bytes: it stays the same
    until the pool has a new job. Signed, so that nobody can use up the key of somebody else.
    """
    text = f"{user.pk} {operation.name} {target.pk} {latest}"
    return uuid.UUID(bytes=salted_hmac("storagemgr.one-click", text, algorithm="sha256").digest()[:16])
