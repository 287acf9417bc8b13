from django.urls import path

from pools import views
from pools.configuration import pages as configuration
from pools.drafts import views as drafts
from pools.rows import MANY
from storagemgr.jobs import bulk

app_name = "pools"
urlpatterns = [
    path("", views.fleet, name="fleet"),
    path("pools/selected/<slug:slug>/", bulk.selected, {"many": MANY}, name="selected"),
    path("pools/new/", drafts.drafts, name="new"),
    path("pools/new/", drafts.drafts, name="drafts"),
    path("pools/new/<int:pk>/", drafts.draft, name="draft"),
    path("pools/new/<int:pk>/discard/", drafts.discard, name="draft_discard"),
    path("pools/new/<int:pk>/<slug:step>/", drafts.step, name="draft_step"),
    *(
        path(f"pools/new/on-host/<int:pk>/{slug}/", drafts.operate_new, {"slug": slug}, name=slug)
        for slug in ("find-sources", "test", "create", "undo-creation")
    ),
    path("pools/<int:pk>/", views.pool, name="pool"),
    path("pools/<int:pk>/configuration/", configuration.configuration, name="configuration"),
    path("pools/<int:pk>/configuration/history/", configuration.configurations, name="configurations"),
    path(
        "pools/<int:pk>/configuration/<int:version>/", configuration.configuration_at, name="configuration_at"
    ),
    path("pools/<int:pk>/timeline/", views.timeline, name="timeline"),
    path("pools/<int:pk>/<slug:slug>/", views.operate, name="operate"),
]
