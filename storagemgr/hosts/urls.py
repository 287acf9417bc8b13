from django.urls import path

from storagemgr.hosts import manage, views

app_name = "hosts"
urlpatterns = [
    path("", views.host_list, name="list"),
    path("new/", manage.new, name="new"),
    path("<int:pk>/", views.host, name="host"),
    path("<int:pk>/edit/", manage.edit, name="edit"),
    path("<int:pk>/key/", manage.key, name="key"),
    path("<int:pk>/remove/", manage.remove, name="remove"),
]
