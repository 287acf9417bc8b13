from django.urls import include, path

from storagemgr import theme

urlpatterns = [
    # Before the pools, whose pools/1/SLUG/ would take pools/1/volumes/.
    path("", include("volumes.urls")),
    path("", include("pools.urls")),
    path("jobs/", include("storagemgr.jobs.urls")),
    path("hosts/", include("storagemgr.hosts.urls")),
    path("accounts/", include("storagemgr.access.urls")),
    path("theme/", theme.choose, name="theme"),
]
