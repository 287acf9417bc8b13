from django.urls import path

from storagemgr.jobs import bulk
from volumes import export, lists, unused, views, wipe_records
from volumes.rows import MANY
from volumes.transfer import pages as transfer_pages

app_name = "volumes"
urlpatterns = [
    path("volumes/", lists.of_all_pools, name="all"),
    path("volumes/wipes/", wipe_records.wipe_records, name="wipes"),
    path("volumes/wipes/<int:pk>/", wipe_records.wipe_record, name="wipe_record"),
    path("volumes/unused/", unused.unused, name="unused"),
    path("volumes/export/", export.of_all_pools, name="export"),
    path("volumes/selected/<slug:slug>/", bulk.selected, {"many": MANY}, name="selected"),
    path("volumes/<int:pk>/", views.volume, name="volume"),
    path("volumes/<int:pk>/timeline/", views.timeline, name="timeline"),
    path("volumes/<int:pk>/<slug:slug>/", views.operate, name="operate"),
    path("pools/<int:pk>/volumes/", lists.of_pool, name="of_pool"),
    path("pools/<int:pk>/volumes/export/", export.of_pool, name="export_pool"),
    path("pools/<int:pk>/volumes/new/", views.create, name="create"),
    path("pools/<int:pk>/volumes/upload/", transfer_pages.upload, name="upload"),
    path("pools/<int:pk>/volumes/import/", transfer_pages.import_, name="import"),
]
