"""The same settings with the addresses of the transfer process: it has no sessions, no cookies and so no CSRF."""

from storagemgr.settings import *  # noqa: F403
from storagemgr.settings import LOGGING as OURS

ROOT_URLCONF = "volumes.transfer.urls"
WSGI_APPLICATION = "volumes.transfer.wsgi.application"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "allauth.account.middleware.AccountMiddleware",  # allauth insists; it only remembers the request
    "volumes.transfer.http.Middleware",
]
# Django logs the address of each request that it refuses.
LOGGING = OURS | {
    "filters": {"tickets": {"()": "volumes.transfer.logs.WithoutTickets"}},
    "handlers": {"console": OURS["handlers"]["console"] | {"filters": ["tickets"]}},
}
