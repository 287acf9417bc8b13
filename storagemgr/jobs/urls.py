from django.urls import path

from storagemgr.jobs import undoing, views

app_name = "jobs"
urlpatterns = [
    path("", views.job_list, name="list"),
    path("strip/", views.strip, name="strip"),
    path("batches/<int:pk>/", views.batch, name="batch"),
    path("batches/<int:pk>/undo/", undoing.undo_batch, name="undo_batch"),
    path("<int:pk>/", views.job_page, name="job"),
    path("<int:pk>/cancel/", views.cancel, name="cancel"),
    path("<int:pk>/give-up/", views.give_up, name="give_up"),
    path("<int:pk>/acknowledge/", views.acknowledge, name="acknowledge"),
]
