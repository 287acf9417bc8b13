"""Celery is the doorbell, the Job row is the truth: a message is one id and may be lost or repeated."""

import os

from celery import Celery
from celery.signals import worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "storagemgr.settings")

app = Celery("storagemgr")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["storagemgr.jobs", "volumes"])


@worker_process_init.connect
def warm_up(**kwargs: object) -> None:
    """Load what the first job of a child would otherwise wait for."""
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018
