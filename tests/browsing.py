"""Signed-in browsers that take notice of every script error and every breach of the content policy."""

from typing import Any

from django.contrib.auth.models import User
from django.test.client import Client
from playwright.sync_api import Browser, BrowserContext, Page

WATCH = """
window.breaches = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.breaches.push(event.violatedDirective + " " + event.blockedURI));
window.bornAt = Math.random();
"""
# A failed request of a poll is the test's own doing: the server was stopped, or the page moved on.
HARMLESS = ("Failed to load resource", "net::ERR_", "Failed to fetch")


class Browsing:
    def __init__(self, chromium: Browser, url: str) -> None:
        self.chromium = chromium
        self.url = url
        self.contexts: list[BrowserContext] = []
        self.errors: list[str] = []

    def as_(self, user: User | None, **options: Any) -> Page:
        """A page of a new browser; `options` go to the browser context, such as java_script_enabled=False."""
        context = self.chromium.new_context(base_url=self.url, **options)
        self.contexts.append(context)
        context.add_init_script(WATCH)
        if user is not None:
            context.add_cookies([{"name": "sessionid", "value": session_of(user), "url": self.url}])
        return self.tab(context)

    def tab(self, context: BrowserContext) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))
        page.on("console", self._note)
        return page

    def _note(self, message: Any) -> None:
        if message.type == "error" and not any(words in message.text for words in HARMLESS):
            self.errors.append(message.text)

    def close(self) -> None:
        for context in self.contexts:
            context.close()
        assert not self.errors, self.errors


def session_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


def breaches(page: Page) -> list[str]:
    return list(page.evaluate("window.breaches"))


def is_reloaded(page: Page, born_at: float) -> bool:
    return bool(page.evaluate("window.bornAt") != born_at)
