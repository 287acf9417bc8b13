import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from pools.models import Pool
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from volumes.models import Volume


@pytest.fixture
def ask(operator: User) -> Callable[..., Job]:
    """Submit an operation by name as the operator."""

    def ask_for(operation: str, target: Pool | Volume, key: uuid.UUID | None = None, **params: Any) -> Job:
        if operation == "volume.clone":
            params["source"] = target.name
        return submit(REGISTRY[operation], target, actor=operator, params=params, key=key or uuid.uuid4())

    return ask_for
