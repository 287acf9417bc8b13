"""Goes through the wizard as a browser without JavaScript does, and runs the jobs that it asks for."""

import re
from typing import Any

from django.test import Client
from django.urls import reverse

from pools.models import NewPool, PoolDraft
from storagemgr.jobs import runner
from storagemgr.jobs.models import Job


class Maker:
    def __init__(self, client: Client, pk: int) -> None:
        self.client, self.pk = client, pk

    @property
    def draft(self) -> PoolDraft:
        return PoolDraft.objects.get(pk=self.pk)

    @property
    def news(self) -> list[NewPool]:
        return list(self.draft.pools.select_related("host", "draft"))

    def url(self, step: str) -> str:
        return reverse("pools:draft_step", args=[self.pk, step])

    def get(self, step: str, **more: Any) -> Any:
        return self.client.get(self.url(step), **more)

    def post(self, step: str, **data: Any) -> Any:
        return self.client.post(self.url(step), data)

    def send(self, step: str, **data: Any) -> str:
        """The step to which it led; fails with the page when it was refused."""
        answer = self.post(step, **data)
        assert answer.status_code == 303, words(answer)
        return answer.url.rstrip("/").rpartition("/")[2].partition("#")[0]

    def to_review(self, type_: str, name: str, options: dict[str, Any] | None = None, **source: Any) -> str:
        self.send("type", type=type_)
        if source:
            self.send("source", **source)
        given = {"name": name, "persistent": "yes", "build": "yes", "start": "on", "autostart": "on"}
        where = self.send("options", **given | (options or {}))
        return self.send("test", next="1") if where == "test" else where

    def create(self, *, run: bool = True, **data: Any) -> list[Job]:
        key = re.search(r'name="key" value="([0-9a-f-]{36})"', self.get("review").content.decode())
        assert key
        hosts = [new.pk for new in self.news]
        assert self.send("review", **{"key": key[1], "hosts": hosts} | data) == "result"
        return self.run("pool.create") if run else []

    def run(self, operation: str) -> list[Job]:
        """The jobs of this draft that wait, run here and now."""
        uuids = [new.uuid for new in self.news]
        jobs = Job.objects.filter(operation=operation, pool_uuid__in=uuids, state="queued").order_by("id")
        ids = list(jobs.values_list("pk", flat=True))
        for pk in ids:
            runner.run(pk)
        return list(Job.objects.filter(pk__in=ids).order_by("id"))


def words(answer: Any) -> str:
    """The text of the page's content."""
    html = answer.content.decode()
    text = re.sub(r"<(script|style|svg).*?</\1>", "", html[html.find("<main") :], flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).replace("\N{NO-BREAK SPACE}", " ")
