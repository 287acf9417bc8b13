from django.urls import include, path

from storagemgr import theme

urlpatterns = [
    path("", include("pools.urls")),
    path("", include("volumes.urls")),
    path("jobs/", include("storagemgr.jobs.urls")),
    path("hosts/", include("storagemgr.hosts.urls")),
    path("accounts/", include("storagemgr.access.urls")),
    path("theme/", theme.choose, name="theme"),
]
