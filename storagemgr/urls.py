from django.urls import include, path

from storagemgr import theme
from storagemgr.hosts.urls import urlpatterns as host_pages
from storagemgr.jobs.timeline_page import host_timeline
from storagemgr.jobs.views import operate_host

# Operations are jobs, and hosts know nothing of jobs.
host_patterns = [
    *host_pages,
    path("<int:pk>/timeline/", host_timeline, name="timeline"),
    path("<int:pk>/<slug:slug>/", operate_host, name="operate"),
]
urlpatterns = [
    # Before the pools, whose pools/1/SLUG/ would take pools/1/volumes/.
    path("", include("volumes.urls")),
    path("", include("pools.urls")),
    path("jobs/", include("storagemgr.jobs.urls")),
    path("hosts/", include((host_patterns, "hosts"))),
    path("accounts/", include("storagemgr.access.urls")),
    path("people/", include("storagemgr.people.urls")),
    path("helpdesk/", include("storagemgr.helpdesk.urls")),
    path("theme/", theme.choose, name="theme"),
]
